// The page for searches: what each source finds, and a list of the ticked images.

import { $, ask, clear, element, message, notes, roving, status } from "./make.js";

const AT_ONCE = 3; // sources; browsers open six connections, and previews need some
const SHOWN = 60; // images of a source, and how many "More" adds

let newest = 0; // number of the latest search
let found = []; // sources that were searched, in the order of the form
let unticked = new Set(); // ids

// --- searching -------------------------------------------------------------------------------------

const lines = () => [...new Set($("keywords").value.split("\n").map((s) => s.trim()).filter(Boolean))];

async function search() {
  const keywords = lines();
  const boxes = [...$("kinds").querySelectorAll(":checked")];
  $("kinds").querySelector("input").setCustomValidity(boxes.length ? "" : "Choose a source");
  $("keywords").setCustomValidity(keywords.length ? "" : "Write keywords");
  if (!$("settings").reportValidity()) return;
  const mine = ++newest;
  unticked = new Set();
  found = boxes.map(({ value, parentElement }) => ({
    kind: value,
    name: parentElement.childNodes[1].textContent.trim(),
    state: "waiting …",
    pictures: [],
    warnings: [],
    shown: SHOWN,
  }));
  $("results").replaceChildren(...found.map(section));
  $("adding").hidden = false;
  $("added").replaceChildren();
  if (!$("name").value || $("name").dataset.proposed === $("name").value) propose(keywords[0]);
  clear();
  count();
  document.body.setAttribute("aria-busy", "true");
  const waiting = [...found];
  const worker = async () => {
    for (let one; mine === newest && (one = waiting.shift()); )
      await searchOne(mine, one, { kind: one.kind, keywords, most: Number($("most").value) });
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  if (mine === newest) document.body.removeAttribute("aria-busy");
}

async function searchOne(mine, one, payload) {
  one.state = "searching …";
  show(one);
  let answer = { pictures: [], warnings: [] };
  let problem = null;
  try {
    answer = await ask("/api/search", payload);
  } catch (error) {
    problem = message(error);
  }
  if (mine !== newest) return;
  Object.assign(one, answer, { problem, state: "" });
  show(one);
  count();
}

/** Propose a name for the source: the keywords, as far as a name may have their characters. */
function propose(keywords) {
  const plain = keywords.normalize("NFKD").toLowerCase().replace(/[^a-z0-9\s_-]/g, "");
  const name = plain.replace(/[\s_-]+/g, "_").replace(/^[0-9_]+|_+$/g, "").slice(0, 40);
  $("name").value = $("name").dataset.proposed = name || "searched";
}

// --- results ---------------------------------------------------------------------------------------

const fits = ({ licence }) => licence.toLowerCase().includes($("filter").value.trim().toLowerCase());
const ticked = () =>
  found.flatMap(({ pictures }) => pictures.filter((one) => fits(one) && !unticked.has(one.id)));

function section({ kind, name, state }) {
  const place = element("section");
  place.dataset.kind = kind;
  const head = element("div", "", "head");
  const button = (words, act) => {
    const made = Object.assign(element("button", words), { type: "button", hidden: true });
    made.setAttribute("aria-label", `${words}: ${name}`);
    made.addEventListener("click", act);
    return made;
  };
  const one = () => found.find((other) => other.kind === kind);
  const tickAll = (on) => () => {
    for (const { id } of one().pictures.filter(fits)) on ? unticked.delete(id) : unticked.add(id);
    show(one());
    count();
  };
  head.append(element("h2", name), element("small", state), button("All", tickAll(true)), button("None", tickAll(false)));
  const group = element("div", "", "pictures found");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", `${name}; arrow keys move, Enter ticks`);
  roving(group);
  group.addEventListener("focusin", ({ target }) => reach(group, target.closest("figure")));
  const more = button("More", () => {
    const first = one().shown;
    one().shown += SHOWN;
    show(one());
    group.querySelectorAll("button")[first]?.focus();
  });
  place.append(head, element("div", "", "said"), group, more);
  return place;
}

/** Tab reaches the links of the focused image only. */
function reach(group, figure) {
  for (const link of group.querySelectorAll("a")) link.tabIndex = figure.contains(link) ? 0 : -1;
}

function show(one) {
  const place = $("results").querySelector(`[data-kind="${one.kind}"]`);
  const [head, said, group, more] = place.children;
  const fitting = one.pictures.filter(fits);
  const on = fitting.filter(({ id }) => !unticked.has(id)).length;
  const hidden = one.pictures.length - fitting.length;
  const words = [`${one.pictures.length} found`, `${on} ticked`];
  if (hidden) words.push(`${hidden} hidden by the filter`);
  head.children[1].textContent = one.state || (one.problem ? "failed" : words.join(", "));
  for (const button of head.querySelectorAll("button")) button.hidden = !fitting.length;
  const messages = one.problem ? [[one.problem, "problem"]] : one.warnings.map((text) => [text, ""]);
  said.replaceChildren(...messages.map(([text, name]) => element("p", text, name)));
  // Images that stay are not loaded again, nor moved, which would take the focus from them.
  const old = new Map([...group.children].map((figure) => [figure.dataset.id, figure]));
  const wanted = fitting.slice(0, one.shown);
  if (wanted.length !== old.size || wanted.some(({ id }) => !old.has(id)))
    group.replaceChildren(...wanted.map((picture) => old.get(picture.id) ?? tile(one, picture)));
  for (const figure of group.children)
    figure.firstChild.setAttribute("aria-pressed", !unticked.has(figure.dataset.id));
  more.hidden = fitting.length <= one.shown;
  more.textContent = `More (${fitting.length - one.shown})`;
}

/** An image as a toggle button, with its title, creator and licence. */
function tile(one, { id, title, creator, licence, licence_url: about, page }) {
  const figure = element("figure");
  figure.dataset.id = id;
  const button = Object.assign(element("button", "", "sample"), { type: "button" });
  const words = [title || "untitled", creator, licence || "licence unknown"].filter(Boolean);
  button.title = words.join("\n");
  const [source, key] = id.split("/");
  const image = Object.assign(element("img"), { loading: "lazy", alt: words.join(", ") });
  image.addEventListener("error", () => button.classList.add("missing"));
  image.src = `/found/${source}/${key}.webp`;
  button.append(image);
  button.addEventListener("click", () => {
    unticked.has(id) ? unticked.delete(id) : unticked.add(id);
    show(one);
    count();
  });
  const caption = element("figcaption");
  caption.append(
    outward(page, title || "untitled"),
    element("span", creator),
    outward(about, licence || "licence unknown"),
  );
  figure.append(button, caption);
  return figure;
}

function outward(address, words) {
  if (!address) return element("span", words);
  const link = Object.assign(element("a", words), { href: address, target: "_blank" });
  Object.assign(link, { rel: "noopener noreferrer", tabIndex: -1, title: words });
  return link;
}

function count() {
  const all = found.reduce((sum, { pictures }) => sum + pictures.length, 0);
  const done = found.filter(({ state }) => !state).length;
  const going = done < found.length ? `${done} of ${found.length} sources have answered; ` : "";
  status(`${going}${all} found`);
  const on = ticked().length;
  $("ticked").textContent = `${on} of ${all} are ticked`;
  $("add").disabled = !on;
}

// --- adding ----------------------------------------------------------------------------------------

async function add() {
  if (!$("adding").reportValidity()) return;
  $("add").disabled = true;
  try {
    const ids = ticked().map(({ id }) => id);
    const { name, path, count: size, added } = await ask("/api/search/add", { name: $("name").value, ids });
    clear();
    const code = (words) => element("code", words);
    const list = [`${size} images are listed in `, code(path), ". "];
    if (added) $("added").replaceChildren(...list, "The source ", code(name), " in params.yaml reads it. Next: ", code("dvc repro dedup"));
    else $("added").replaceChildren(...list, "Add this line to sources in params.yaml: ", code(`${name}: {kind: urls, path: ${path}}`));
  } catch (error) {
    notes({ words: message(error), problem: true });
  }
  count();
}

// --- events ----------------------------------------------------------------------------------------

$("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
$("settings").addEventListener("input", () => {
  for (const field of $("settings").querySelectorAll("textarea, input")) field.setCustomValidity("");
});
$("keywords").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  search();
});
$("adding").addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.submitter === $("add")) add();
});
$("filter").addEventListener("input", () => {
  for (const one of found) show(one);
  count();
});
$("keywords").focus();
