// The page for curation: connects store, grid and dialogs, and handles keyboard and mouse.

import { Grid } from "./grid.js";
import { remember, remembered } from "./settings.js";
import { ask, Store } from "./store.js";
import { filtered, kind, number, orders, sorted } from "./view.js";
import { Help, Why, Zoom } from "./windows.js";

const $ = (id) => document.getElementById(id);
const element = (tag, text, name = "") =>
  Object.assign(document.createElement(tag), { textContent: text, className: name });

const store = new Store();
const filters = { status: "", source: "", label: null, rule: "", search: "" };
const usual = { order: "found", down: false, grouped: false, size: 144, theme: "" };
const view = { ...usual, ...remembered("view", {}) };
let like = null; // {row, scores} while sorted by similarity
let members = new Set(); // hashes of the rows in the view
let shown = null; // (row) => text of the value by which rows are sorted

const STATES = [
  ["", "All", "all images"],
  ["open", "Undecided", "no rule drops them: used for training"],
  ["keep", "Kept", "manually"],
  ["drop", "Dropped", "manually"],
  ["rule", "By rule", "dropped by a rule in params.yaml; Keep overrides it"],
];

// --- tiles -------------------------------------------------------------------------------------

const grid = new Grid($("grid"), $("sheet"), (tile, row) => {
  const status = store.status(row);
  const reason = store.decision(row.sha256)?.[1] || (status === "rule" ? kind(row.rule) : "");
  tile.dataset.status = status;
  tile.querySelectorAll(".badge, .value, .keeper").forEach((old) => old.remove());
  if (status !== "open") {
    const badge = element("span", "", "badge");
    badge.append(element("b", { keep: "✓", drop: "✕", rule: "R" }[status]), element("span", reason));
    tile.append(badge);
  }
  const value = shown?.(row) ?? "";
  if (value) tile.append(element("span", value, "value"));
  const group = store.groups.get(row.cluster);
  if (view.grouped && row.keeper && group.length > 1) tile.append(element("span", "keeper", "keeper"));
  const word = { keep: "kept", drop: "dropped", rule: "dropped by rule", open: "undecided" }[status];
  tile.setAttribute("aria-label", [name(row), word, reason, value].filter(Boolean).join(", "));
});

const name = (row) => row.title || row.id;

// --- the view ------------------------------------------------------------------------------------

const likeness = (row) => like.scores.get(row.sha256) ?? NaN;

function allOrders() {
  const all = orders(store.about.flags);
  if (like)
    all.push({ name: "likeness", title: "similarity", down: true, key: likeness, shown: (row) => number(likeness(row)) });
  return all;
}

/** Filter and sort again. */
function update() {
  const order = allOrders().find(({ name }) => name === view.order) ?? allOrders()[0];
  view.order = order.name;
  shown = order.shown;
  const rows = sorted(filtered(store, filters), order, view.down, store);
  members = new Set(rows.map((row) => row.sha256));
  const clusters = new Set();
  let groups = null;
  if (view.grouped) {
    groups = [];
    for (const row of rows) {
      const all = store.groups.get(row.cluster);
      if (all.length > 1 && !clusters.has(row.cluster)) groups.push(all);
      clusters.add(row.cluster);
    }
  }
  for (const sha of grid.selected) if (!members.has(sha)) grid.selected.delete(sha);
  grid.size = view.size;
  $("sheet").classList.toggle("grouped", view.grouped);
  grid.show(rows, groups);
  const empty = !grid.rows.length;
  $("empty").hidden = !empty;
  $("empty").textContent = view.grouped
    ? "There are no groups of several images."
    : "No image matches these filters.";
  $("grid").setAttribute("aria-label", view.grouped ? "Groups of near-duplicates" : "Images");
  controls();
  counts();
}

/** Update the controls of the view. */
function controls() {
  const select = $("sort");
  const all = allOrders();
  select.replaceChildren(
    ...all.map(({ name, title }) => new Option(title, name, false, name === view.order)),
  );
  $("turn").textContent = view.down ? "↑" : "↓";
  $("turn").title = view.down ? "Descending" : "Ascending";
  $("groups").setAttribute("aria-pressed", view.grouped);
  $("size").value = view.size;
  $("like").hidden = view.order !== "likeness";
  if (like) {
    $("like").src = `/thumbnails/${like.row.sha256}`;
    $("like").alt = `similar to ${name(like.row)}`;
  }
  document.documentElement.style.colorScheme = view.theme || "light dark";
  const theme = { "": "Auto", light: "Light", dark: "Dark" }[view.theme];
  $("theme").textContent = `◐ ${theme}`;
  $("theme").setAttribute("aria-label", `Colours: ${theme}`);
  remember("view", { ...view, order: like ? "found" : view.order });
}

/** Update all counts; cheap enough to do after every decision. */
function counts() {
  const total = { "": store.rows.length, open: 0, keep: 0, drop: 0, rule: 0 };
  const sources = new Map();
  const rules = new Map();
  let outside = 0;
  for (const row of store.rows) {
    const status = store.status(row);
    total[status] += 1;
    const source = sources.get(row.source) ?? { open: 0, all: 0 };
    source.all += 1;
    source.open += status === "open";
    sources.set(row.source, source);
    if (row.rule) rules.set(kind(row.rule), (rules.get(kind(row.rule)) ?? 0) + (status === "rule"));
    if (filters.status && members.has(row.sha256) !== (status === filters.status)) outside += members.has(row.sha256);
  }
  fill($("states"), STATES.map(([key, title, tip]) => [key, title, total[key], tip]), "status", "");
  fill($("sources"), [...sources].map(([key, n]) => [key, key, `${n.open} / ${n.all}`]), "source", "");
  fill($("rules"), [...rules].map(([key, n]) => [key, key, n]), "rule", "");
  $("rules-section").hidden = !rules.size;
  const bars = $("progress").children;
  ["keep", "open", "rule", "drop"].forEach((key, i) => (bars[i].style.flexGrow = total[key]));
  $("update").hidden = !outside;
  const trained = total.keep + total.open;
  document.title = `${total.open} undecided · ganloom studio`;
  $("where").textContent = `${store.about.project} · ${trained} of ${total[""]} used for training`;
  footer();
}

/** Fill a group of toggle buttons. Existing buttons are reused, so that the focus stays. */
function fill(box, entries, filter, none) {
  const old = new Map([...box.children].map((button) => [button.dataset.key, button]));
  const buttons = entries.map(([key, title, count, tip]) => {
    const button = old.get(key) ?? document.createElement("button");
    if (!old.has(key)) {
      button.type = "button";
      button.dataset.key = key;
      button.append(element("span", title), element("small", ""));
      if (tip) button.title = tip;
      button.addEventListener("click", () => {
        filters[filter] = filters[filter] === key ? none : key;
        update();
      });
    }
    button.setAttribute("aria-pressed", filters[filter] === key);
    button.lastChild.textContent = count;
    return button;
  });
  if (buttons.length !== old.size || buttons.some((b) => !b.isConnected)) box.replaceChildren(...buttons);
}

function footer() {
  const row = grid.focused;
  const box = $("focused");
  box.replaceChildren();
  const chosen = grid.selected.size;
  if (chosen > 0) {
    box.append(element("b", `${chosen} selected`), " Esc clears the selection");
  } else if (row) {
    const group = store.groups.get(row.cluster).length;
    const facts = [row.source, row.label, `${row.width}×${row.height}`];
    if (group > 1) facts.push(row.keeper ? `keeper of ${group} near-duplicates` : `one of ${group} near-duplicates`);
    if (row.rule) facts.push(row.rule);
    box.append(element("b", name(row)), " " + facts.filter(Boolean).join(" · "));
  }
  for (const button of document.querySelectorAll("[data-do]:not([data-do=undo])"))
    button.disabled = !row;
}

// --- deciding ------------------------------------------------------------------------------------

const targets = () => (zoom.open ? [zoom.row] : grid.chosen);

/** Decide on images, then move to the next one. */
function decide(word, reason = "", wanted = targets()) {
  if (!wanted.length) return;
  // The pipeline may have removed some of them meanwhile.
  const rows = wanted.filter((row) => store.byHash.has(row.sha256));
  if (!rows.length) return toast("No longer in the collection: nothing was saved");
  store.decide(rows.map((row) => row.sha256), word, reason);
  if (rows.length > 1) toast(`${rows.length} images ${{ keep: "kept", drop: "dropped" }[word] ?? "cleared"}`);
  const last = grid.rows.findLastIndex((row) => row.sha256 === rows.at(-1).sha256);
  grid.selected.clear();
  if (word !== null && last >= 0) grid.moveTo(last + 1);
  else grid.refresh();
  if (zoom.open) zoom.show(grid.focused);
  footer();
}

function step(direction) {
  const shas = direction === "undo" ? store.undo() : store.redo();
  if (shas === null) return toast(`Nothing to ${direction}`);
  if (!shas.length) return toast("Changed in another window: not undone");
  const at = grid.rows.findIndex((row) => row.sha256 === shas[0]);
  if (at >= 0) grid.moveTo(at);
  if (zoom.open) zoom.show(grid.focused);
  toast(`${direction === "undo" ? "Undone" : "Redone"}: ${shas.length === 1 ? "1 image" : `${shas.length} images`}`);
  footer();
}

async function sortByLikeness() {
  const row = grid.focused;
  if (!row) return;
  const slow = setTimeout(() => toast("Comparing all images …", 60_000), 400);
  try {
    const answer = await ask(`/api/likeness/${row.sha256}`);
    // Scores are in the order of the rows, so they must belong to the same collection.
    if (answer.revision !== store.about.revision)
      throw new Error("The collection has changed: try again in a moment");
    like = { row, scores: new Map(store.rows.map((other, i) => [other.sha256, answer.scores[i]])) };
    Object.assign(view, { order: "likeness", down: true, grouped: false });
    update();
    grid.moveTo(0);
    toast(answer.by === "features" ? "Most similar first" : "Most similar in colour first");
  } catch (error) {
    toast(error.message);
  } finally {
    clearTimeout(slow);
  }
}

function toggleGroups() {
  view.grouped = !view.grouped;
  if (view.grouped && !store.groups.values().some((group) => group.length > 1)) {
    view.grouped = false;
    toast("There are no near-duplicates");
  }
  update();
}

/** Select the visible images of the focused image's group; hidden ones must not be changed. */
function selectGroup() {
  const row = grid.focused;
  if (!row) return;
  for (const { cluster, sha256 } of grid.rows)
    if (cluster === row.cluster) grid.selected.add(sha256);
  changedSelection();
}

function changedSelection() {
  grid.refresh();
  footer();
}

// --- windows -------------------------------------------------------------------------------------

const zoom = new Zoom($("zoom"), store, () => $("grid").focus());
const why = new Why($("why"), decide);
const help = new Help($("help"));

function openWhy() {
  const rows = targets();
  if (rows.length) why.ask(rows, store);
}

let toastTimer = 0;
function toast(text, ms = 2500) {
  $("toast").textContent = text;
  $("toast").classList.add("on");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => $("toast").classList.remove("on"), ms);
}

/** Show notes above the page: a list that params.yaml does not use, and errors. */
function notes() {
  const { list, list_in_use: used } = store.about;
  const lines = [];
  if (used !== list) {
    const line = element("p", `${used ? `params.yaml uses the list “${used}”` : "params.yaml uses no list"} . To use these decisions, add under `);
    line.append(element("code", "curate:"), " the line ", element("code", `list: ${list}`));
    lines.push(line);
  }
  if (store.state === "refused") lines.push(element("p", store.problem, "problem"));
  $("notes").replaceChildren(...lines);
  $("next-text").replaceChildren(
    "Saved in ",
    element("code", `data/curation/${list}.csv`),
    ". Commit it to Git. To apply the decisions: ",
    element("code", "dvc repro"),
    " or ",
    element("code", "snakemake --cores 8 results/report.html"),
  );
}

// --- events --------------------------------------------------------------------------------------

store.addEventListener("decisions", ({ detail: { foreign } }) => {
  grid.refresh();
  counts();
  if (zoom.open) zoom.refresh();
  if (foreign) toast(`${foreign === 1 ? "1 decision" : `${foreign} decisions`} changed in another window or file`);
});

store.addEventListener("collection", () => {
  const labels = [...new Set(store.rows.map((row) => row.label))].sort();
  $("labels-section").hidden = labels.length < 2;
  $("labels").replaceChildren(
    new Option("all classes", "\n"),
    ...labels.map((label) => new Option(label || "none", label)),
  );
  if (filters.label !== null) $("labels").value = filters.label;
  like = null;
  notes();
  update();
});

store.addEventListener("state", () => {
  const unsaved = store.unsaved;
  $("saved").dataset.state = store.state;
  $("saved").textContent = {
    saved: "✓ Saved",
    saving: "Saving …",
    offline: `No connection${unsaved ? `, ${unsaved} unsaved` : ""}: trying again`,
    refused: unsaved ? `${unsaved} not saved` : "Out of date",
  }[store.state];
  if (store.about) notes();
});

addEventListener("beforeunload", (event) => {
  if (store.unsaved) event.preventDefault();
});

const COMMANDS = {
  k: () => decide("keep"),
  d: () => decide("drop"),
  x: () => decide(null),
  u: () => step("undo"),
  U: () => step("redo"),
  r: openWhy,
  l: sortByLikeness,
  g: toggleGroups,
  c: selectGroup,
  v: update,
  "/": () => $("search").focus(),
  "?": () => help.open(),
  "+": () => resize(view.size + 24),
  "-": () => resize(view.size - 24),
};
const IN_ZOOM = new Set(["k", "d", "x", "u", "U", "r", "?"]);
const MOVES = /^(Arrow(Left|Right|Up|Down)|Home|End|Page(Up|Down))$/;

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  const control = event.ctrlKey || event.metaKey;
  if (why.open || help.isOpen || event.altKey || event.isComposing) return;
  if (target.matches("input, select, textarea")) {
    if (key === "Escape" || (key === "Enter" && target.id === "search")) {
      event.preventDefault(); // a search field would clear itself without an input event
      $("grid").focus();
    }
    return;
  }
  if ((key === " " || key === "Enter") && target.matches("button, a")) return;
  let done = true;
  if (control) {
    const letter = key.toLowerCase();
    if (letter === "z") step(event.shiftKey ? "redo" : "undo");
    else if (letter === "y") step("redo");
    else if (letter === "a" && !zoom.open) {
      grid.selectRange(0, grid.rows.length - 1);
      changedSelection();
    } else done = false;
  } else if (MOVES.test(key)) {
    if (zoom.open) zoom.show((grid.moveTo(grid.neighbour(zoomMove(key))), grid.focused));
    else grid.moveTo(grid.neighbour(key), event.shiftKey);
    footer();
  } else if (key === " " || key === "Enter") {
    if (zoom.open) zoom.close();
    else if (grid.focused) zoom.show(grid.focused);
  } else if (key === "Escape" && !zoom.open) {
    grid.selected.clear();
    changedSelection();
  } else if (/^[1-9]$/.test(key)) {
    const reason = why.reason(Number(key));
    if (reason) decide("drop", reason);
  } else {
    const letter = event.shiftKey && key === "U" ? "U" : key.toLowerCase();
    done = letter in COMMANDS && (!zoom.open || IN_ZOOM.has(letter));
    if (done) COMMANDS[letter]();
  }
  if (done) event.preventDefault();
});

const zoomMove = (key) => ({ ArrowUp: "ArrowLeft", ArrowDown: "ArrowRight" })[key] ?? key;

for (const button of document.querySelectorAll("[data-do]")) {
  const actions = {
    keep: () => decide("keep"),
    drop: () => decide("drop"),
    clear: () => decide(null),
    undo: () => step("undo"),
    reason: openWhy,
  };
  button.addEventListener("click", actions[button.dataset.do]);
}

function resize(size) {
  view.size = Math.max(72, Math.min(320, size));
  grid.size = view.size;
  grid.layout();
  grid.reveal();
  controls();
}

$("sort").addEventListener("change", ({ target }) => {
  view.order = target.value;
  view.down = Boolean(allOrders().find(({ name }) => name === view.order).down);
  update();
  grid.moveTo(0);
});
$("turn").addEventListener("click", () => {
  view.down = !view.down;
  update();
});
$("groups").addEventListener("click", toggleGroups);
$("update").addEventListener("click", update);
$("size").addEventListener("input", ({ target }) => resize(Number(target.value)));
$("labels").addEventListener("change", ({ target }) => {
  filters.label = target.value === "\n" ? null : target.value;
  update();
});
$("search").addEventListener("input", ({ target }) => {
  filters.search = target.value;
  update();
});
$("theme").addEventListener("click", () => {
  view.theme = { "": "light", light: "dark", dark: "" }[view.theme];
  controls();
});
$("help-open").addEventListener("click", () => help.open());
$("filters-toggle").addEventListener("click", ({ target }) => {
  const open = document.body.classList.toggle("filtering");
  target.setAttribute("aria-expanded", open);
});
// After a mouse click the grid gets the focus; the keyboard's focus does not move.
document.addEventListener("click", (event) => {
  if (event.detail > 0 && event.target.closest("button") && !document.querySelector("dialog[open]"))
    $("grid").focus({ preventScroll: true });
});

// --- mouse -----------------------------------------------------------------------------------------

const box = $("grid");
let drag = null; // {x, y, before, rectangle}
let dragged = false; // ignore the click at the end of a drag

const onSheet = (event) => {
  const { left, top } = $("sheet").getBoundingClientRect();
  return { x: event.clientX - left, y: event.clientY - top };
};
const tileOf = (event) => {
  const at = event.target.closest(".tile")?.dataset.at;
  return at === undefined ? -1 : Number(at);
};

box.addEventListener("pointerdown", (event) => {
  dragged = false;
  if (event.button !== 0 || event.pointerType !== "mouse") return;
  if (event.offsetX > box.clientWidth && event.target === box) return; // the scrollbar
  const keep = event.shiftKey || event.ctrlKey || event.metaKey;
  drag = { ...onSheet(event), before: new Set(keep ? grid.selected : []), rectangle: null };
});

addEventListener("pointermove", (event) => {
  if (!drag) return;
  const now = onSheet(event);
  if (!drag.rectangle) {
    if (Math.hypot(now.x - drag.x, now.y - drag.y) < 6) return;
    drag.rectangle = element("div", "", "rectangle");
    $("sheet").append(drag.rectangle);
  }
  const { top, bottom } = box.getBoundingClientRect();
  if (event.clientY < top + 24) box.scrollTop -= 24;
  if (event.clientY > bottom - 24) box.scrollTop += 24;
  const [left, right] = [Math.min(now.x, drag.x), Math.max(now.x, drag.x)];
  const [upper, lower] = [Math.min(now.y, drag.y), Math.max(now.y, drag.y)];
  Object.assign(drag.rectangle.style, {
    transform: `translate(${left}px,${upper}px)`,
    width: `${right - left}px`,
    height: `${lower - upper}px`,
  });
  const touched = grid.within(left, upper, right, lower);
  grid.selected = new Set(drag.before);
  for (const i of touched) grid.selected.add(grid.rows[i].sha256);
  changedSelection();
});

addEventListener("pointerup", () => {
  if (!drag) return;
  dragged = drag.rectangle !== null;
  drag.rectangle?.remove();
  drag = null;
});

box.addEventListener("click", (event) => {
  if (dragged) return;
  const at = tileOf(event);
  if (at < 0) {
    grid.selected.clear();
  } else if (event.shiftKey) {
    grid.selectRange(grid.focus, at);
    grid.focus = at;
  } else if (event.ctrlKey || event.metaKey) {
    const { sha256 } = grid.rows[at];
    if (!grid.selected.delete(sha256)) grid.selected.add(sha256);
    grid.focus = at;
  } else {
    grid.selected.clear();
    grid.focus = at;
  }
  changedSelection();
});

box.addEventListener("dblclick", (event) => {
  if (tileOf(event) >= 0) zoom.show(grid.focused);
});

// --- start -----------------------------------------------------------------------------------------

async function start() {
  try {
    await store.start();
  } catch (error) {
    $("saved").dataset.state = "refused";
    $("saved").textContent = "Nothing to show";
    const problem = error.status ? error.message : "The server does not answer. To start it: ganloom studio";
    $("notes").replaceChildren(element("p", `${problem} This page tries again automatically.`, "problem"));
    setTimeout(start, 3000);
  }
}
// Focus the grid first: a dialog that closes returns the focus to it.
box.focus();
start();
