// The page that edits: a photograph is looked for in latent space, and what is found is changed.

import { $, ask, choice, clear, crisp, element, fillModels, notes, origin, png, said, status, Turn } from "./make.js";

const POLL = 400; // ms
const MAX_BYTES = 20e6; // as the server has it
const DIRECTIONS = 8;
const REACH = 6; // standard deviations, either way

const turn = new Turn();
let models = new Map();
let kept = [];
let base = null; // name of the picture that is changed
let edited = null; // name of the changed one
let watching = null; // the search that is watched
let timer = 0; // of the next question how far it is

const show = (id, address) => {
  $(id).hidden = !address;
  if (address) $(id).querySelector("img").src = address;
};

// --- what is edited --------------------------------------------------------------------------------

function fit() {
  const { name } = models.get($("model").value);
  const mine = kept.filter(({ model }) => model === name);
  const options = [["", mine.length ? "choose" : "none is kept"], ...mine.map((one) => [one.name, origin(one)])];
  $("kept").replaceChildren(
    ...options.map(([value, words]) => Object.assign(element("option", words), { value })),
  );
  $("kept").disabled = !mine.length;
  start(null);
}

/** Begin to change a picture, or none. */
function start(name) {
  base = edited = name;
  pressed = null;
  show("before", name && png(name));
  caption("Before");
  show("after", name && png(name));
  $("changes").hidden = $("files").hidden = !name;
  $("empty").hidden = Boolean(name);
  if (!name) return;
  sliders();
  link(name);
}

const caption = (words) => ($("before").querySelector("figcaption").textContent = words);

function link(name) {
  edited = name;
  show("after", png(name));
  const stem = `${$("model").value.replace("/", "_")}_${name}`;
  Object.assign($("png"), { href: png(name), download: `${stem}.png` });
  Object.assign($("large"), { href: `/samples/${name}/large.png`, download: `${stem}_large.png` });
  Object.assign($("json"), { href: `/samples/${name}.json`, download: `${stem}.json` });
  Object.assign($("both"), { href: `/compared/${base}/${name}.png`, download: `${stem}_both.png` });
  $("keep").disabled = kept.some((one) => one.name === name);
  $("keep").textContent = $("keep").disabled ? "Kept" : "Keep";
}

// --- looking for a photograph ----------------------------------------------------------------------

async function reconstruct() {
  const [file] = $("photo").files;
  if (!file) return;
  if (file.size > MAX_BYTES) {
    notes({ words: `${file.name}: more than ${MAX_BYTES / 1e6} MB`, problem: true });
    return;
  }
  const settings = { model: $("model").value, steps: $("steps").value, loss: $("loss").value };
  try {
    const answer = await fetch(`/api/photo?${new URLSearchParams(settings)}`, {
      method: "POST",
      headers: { "content-type": "application/octet-stream" },
      body: file,
    });
    const known = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(known.problem), { status: answer.status });
    clear();
    start(null);
    watch(known.search);
  } catch (error) {
    notes({ words: error.status ? `${file.name}: ${error.message}` : said(error), problem: true });
  }
}

/** Show how far a search is, until it ends; what is edited meanwhile stays. */
function watch(search) {
  watching = search;
  const running = search.state === "running";
  const waits = search.state === "done" && base !== null;
  $("running").hidden = !running;
  $("found").hidden = !waits;
  $("settings").querySelector(".go").disabled = running || !$("photo").files.length;
  $("progress-bar").value = search.step / search.steps;
  if (running) {
    status(`Searching: step ${search.step} of ${search.steps}`);
    pollIn(POLL);
  } else {
    clearTimeout(timer);
    status(waits ? "The photograph is found" : "");
    if (search.note) notes({ words: search.note });
  }
  if (search.state === "failed") notes({ words: search.problem, problem: true });
  if (!base) follow(search);
}

/** Show the photograph, and what is found so far or at last. */
function follow(search) {
  if (search.state === "done") {
    $("model").value = search.model;
    fit();
    start(search.name);
    caption(`Before: PSNR ${search.psnr.toFixed(1)} dB, MS-SSIM ${search.ms_ssim.toFixed(2)}`);
  } else if (search.state === "running") {
    caption("Found so far");
    if (search.step) show("before", `/photos/${search.id}/now.png?step=${search.step}`);
    $("empty").hidden = true;
  } else {
    start(null);
  }
  show("target", `/photos/${search.id}.png`);
}

/** Ask again, once: Cancel and the start of the page ask out of turn. */
function pollIn(ms) {
  clearTimeout(timer);
  timer = setTimeout(poll, ms);
}

async function poll() {
  try {
    const { search } = await ask("/api/photo");
    // A search ends once, also where Cancel asks at the same moment.
    if (search?.id === watching.id && watching.state === "running") watch(search);
  } catch (error) {
    notes({ words: said(error), problem: true });
    pollIn(4 * POLL);
  }
}

// --- changing --------------------------------------------------------------------------------------

function range(words, id, reach, step) {
  const label = element("label", `${words} `);
  const output = Object.assign(element("output", "0"), { id: `${id}-said` });
  const input = Object.assign(element("input"), { type: "range", id, min: -reach, max: reach, step });
  input.setAttribute("value", 0); // where a reset leads
  output.htmlFor = id;
  label.append(output, input);
  return label;
}

function sliders() {
  const model = models.get($("model").value);
  const told = [];
  if (model.classes.length) {
    told.push(choice("Class", "label", model.classes.map((name) => [name, name]), "as it is"));
    const label = range("How much of it", "strength", 1, 0.05);
    Object.assign(label.lastChild, { min: 0 }).setAttribute("value", 1);
    told.push(label);
  }
  model.categorical.forEach((values, i) => {
    const options = Array.from({ length: values }, (_, value) => [value, value]);
    told.push(choice(`Code ${i + 1}`, `code-${i}`, options, "as it is"));
    told.at(-1).lastChild.dataset.code = i;
  });
  for (let i = 0; i < model.continuous; i++) {
    const at = model.categorical.length + i;
    const sweep = [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1].map((x) => [x, x]);
    told.push(choice(`Code ${at + 1}`, `code-${at}`, sweep, "as it is"));
    told.at(-1).lastChild.dataset.code = at;
  }
  $("told").replaceChildren(...told);
  const count = Array.from({ length: DIRECTIONS }, (_, i) => i);
  $("ways").replaceChildren(...count.map((i) => range(`${i + 1}`, `way-${i}`, REACH, 0.25)));
  say();
}

function say() {
  for (const input of $("changes").querySelectorAll("input"))
    $(`${input.id}-said`).value = Number(input.value);
}

let asking = false; // one question at a time: while it is answered, the sliders move on
let again = false;
let pressed = null; // a link or button that waits for the picture that the sliders ask for

async function change() {
  say();
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  for (const file of $("files").querySelectorAll("a")) file.removeAttribute("href");
  const codes = [...$("told").querySelectorAll("[data-code]")];
  const asked = {
    name: base,
    model: $("model").value,
    label: $("label")?.value || null,
    strength: Number($("strength")?.value ?? 1),
    codes: codes.map(({ value }) => (value === "" ? null : Number(value))),
    directions: [...$("ways").querySelectorAll("input")].map(({ value }) => Number(value)),
  };
  await turn.run("Changing …", () => ask("/api/edit", asked), ({ name }) => {
    if (base === asked.name) link(name);
  });
  asking = false;
  if (again) {
    again = false;
    change();
    return;
  }
  // Where the change has failed, the picture before it is shown and saved.
  if (edited && !$("png").hasAttribute("href")) link(edited);
  pressed?.click();
  pressed = null;
}

// Until the changed picture is there, a file would be of the one before: the click waits for it.
$("files").addEventListener(
  "click",
  (event) => {
    if (!asking) return;
    event.preventDefault();
    event.stopPropagation();
    pressed = event.target.closest("a, button");
  },
  { capture: true },
);

// --- what is pressed -------------------------------------------------------------------------------

$("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  reconstruct();
});
$("photo").addEventListener("change", () => {
  $("settings").querySelector(".go").disabled = !$("photo").files.length || !$("running").hidden;
});
$("cancel").addEventListener("click", () =>
  ask("/api/cancel", {}).then(poll, (error) => notes({ words: said(error), problem: true })),
);
$("found").addEventListener("click", () => {
  start(null);
  watch(watching);
});
$("model").addEventListener("change", fit);
$("kept").addEventListener("change", () => {
  show("target", null);
  start($("kept").value || null);
});
$("changes").addEventListener("input", change);
$("changes").addEventListener("submit", (event) => event.preventDefault());
$("changes").addEventListener("reset", () => setTimeout(change));
$("keep").addEventListener("click", async () => {
  try {
    ({ kept } = await ask("/api/keep", { name: edited }));
    link(edited);
  } catch (error) {
    notes({ words: said(error), problem: true });
  }
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.matches("input:not([type=range]), select")) return;
  if (event.key === "0" && base) $("changes").reset();
});
for (const id of ["target", "before", "after"]) crisp($(id).querySelector("img"));

// --- start -----------------------------------------------------------------------------------------

try {
  models = await fillModels($("model"));
  ({ kept } = await ask("/api/kept"));
  if (models.size) {
    fit();
    const { search } = await ask("/api/photo");
    const here = search && models.has(search.model);
    const asked = new URLSearchParams(location.search).get("kept");
    if (kept.some(({ name }) => name === asked)) {
      $("kept").value = asked;
      start(asked);
    } else if (here) {
      $("model").value = search.model;
      fit();
    }
    if (here && (!base || search.state === "running")) watch(search);
  }
} catch (error) {
  notes({ words: said(error), problem: true });
}
