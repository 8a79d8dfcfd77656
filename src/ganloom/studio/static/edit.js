// The page for edits: inverts a photograph, and edits the reconstruction or a kept sample.

import { $, ask, choice, clear, crisp, element, fillModels, message, notes, origin, png, status, Turn } from "./make.js";

const POLL = 400; // ms
const MAX_BYTES = 20e6; // limit of the server
const DIRECTIONS = 8;
const REACH = 6; // standard deviations, in both directions

const turn = new Turn();
let models = new Map();
let kept = [];
let base = null; // name of the sample that is edited
let edited = null; // name of the edited sample
let watching = null; // the search that is shown
let timer = 0; // of the next poll
let loaded = false; // whether the models and the current search are known

const show = (id, address) => {
  $(id).hidden = !address;
  if (address) $(id).querySelector("img").src = address;
};

// --- source ----------------------------------------------------------------------------------------

function fit() {
  const { name } = models.get($("model").value);
  const mine = kept.filter(({ model }) => model === name);
  const options = [["", mine.length ? "choose" : "none kept"], ...mine.map((one) => [one.name, origin(one)])];
  $("kept").replaceChildren(
    ...options.map(([value, words]) => Object.assign(element("option", words), { value })),
  );
  $("kept").disabled = !mine.length;
  start(null);
}

/** Start to edit a sample; null: none. */
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

// --- inversion -------------------------------------------------------------------------------------

async function reconstruct() {
  const [file] = $("photo").files;
  if (!file) return;
  if (file.size > MAX_BYTES) {
    notes({ words: `${file.name} is larger than ${MAX_BYTES / 1e6} MB`, problem: true });
    return;
  }
  const settings = { model: $("model").value, steps: $("steps").value, loss: $("loss").value };
  try {
    const answer = await fetch(`/api/photo?${new URLSearchParams(settings)}`, {
      method: "POST",
      headers: { "content-type": "application/octet-stream" },
      body: file,
    });
    const content = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(content.problem), { status: answer.status });
    clear();
    start(null);
    watch(content.search);
  } catch (error) {
    notes({ words: error.status ? `${file.name}: ${error.message}` : message(error), problem: true });
  }
}

/** Allow a search once a photograph is chosen, unless one is running. */
function allow() {
  const ready = loaded && $("running").hidden && $("photo").files.length;
  $("settings").querySelector(".go").disabled = !ready;
}

/** Show the progress of a search until it ends, without disturbing an edit. */
function watch(search) {
  watching = search;
  const running = search.state === "running";
  const waits = search.state === "done" && base !== null;
  $("running").hidden = !running;
  $("found").hidden = !waits;
  allow();
  $("progress-bar").value = search.step / search.steps;
  if (running) {
    status(`Searching: step ${search.step} of ${search.steps}`);
    pollIn(POLL);
  } else {
    clearTimeout(timer);
    status(waits ? "The photograph is reconstructed" : "");
    if (search.note) notes({ words: search.note });
  }
  if (search.state === "failed") notes({ words: search.problem, problem: true });
  if (!base) follow(search);
}

/** Show the photograph and its current or final reconstruction. */
function follow(search) {
  if (search.state === "done") {
    $("model").value = search.model;
    fit();
    start(search.name);
    caption(`Before: PSNR ${search.psnr.toFixed(1)} dB, MS-SSIM ${search.ms_ssim.toFixed(2)}`);
  } else if (search.state === "running") {
    caption("Reconstruction so far");
    if (search.step) show("before", `/photos/${search.id}/now.png?step=${search.step}`);
    $("empty").hidden = true;
  } else {
    start(null);
  }
  show("target", `/photos/${search.id}.png`);
}

/** Schedule the only next poll; Cancel and the start of the page poll as well. */
function pollIn(ms) {
  clearTimeout(timer);
  timer = setTimeout(poll, ms);
}

async function poll() {
  try {
    const { search } = await ask("/api/photo");
    // Handle the end of a search once, even if Cancel polls at the same time.
    if (search?.id === watching.id && watching.state === "running") watch(search);
  } catch (error) {
    notes({ words: message(error), problem: true });
    pollIn(4 * POLL);
  }
}

// --- edits -----------------------------------------------------------------------------------------

function range(words, id, reach, step) {
  const label = element("label", `${words} `);
  const output = Object.assign(element("output", "0"), { id: `${id}-said` });
  const input = Object.assign(element("input"), { type: "range", id, min: -reach, max: reach, step });
  input.setAttribute("value", 0); // value after a reset
  output.htmlFor = id;
  label.append(output, input);
  return label;
}

function sliders() {
  const model = models.get($("model").value);
  const inputs = [];
  if (model.classes.length) {
    inputs.push(choice("Class", "label", model.classes.map((name) => [name, name]), "unchanged"));
    const label = range("Strength", "strength", 1, 0.05);
    Object.assign(label.lastChild, { min: 0 }).setAttribute("value", 1);
    inputs.push(label);
  }
  model.categorical.forEach((values, i) => {
    const options = Array.from({ length: values }, (_, value) => [value, value]);
    inputs.push(choice(`Code ${i + 1}`, `code-${i}`, options, "unchanged"));
    inputs.at(-1).lastChild.dataset.code = i;
  });
  for (let i = 0; i < model.continuous; i++) {
    const at = model.categorical.length + i;
    const sweep = [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1].map((x) => [x, x]);
    inputs.push(choice(`Code ${at + 1}`, `code-${at}`, sweep, "unchanged"));
    inputs.at(-1).lastChild.dataset.code = at;
  }
  $("inputs").replaceChildren(...inputs);
  const count = Array.from({ length: DIRECTIONS }, (_, i) => i);
  $("ways").replaceChildren(...count.map((i) => range(`${i + 1}`, `way-${i}`, REACH, 0.25)));
  showValues();
}

function showValues() {
  for (const input of $("changes").querySelectorAll("input"))
    $(`${input.id}-said`).value = Number(input.value);
}

let asking = false; // one request at a time; the sliders may change meanwhile
let again = false;
let pressed = null; // link or button to click once the edited sample is there

async function change() {
  showValues();
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  for (const file of $("files").querySelectorAll("a")) file.removeAttribute("href");
  const codes = [...$("inputs").querySelectorAll("[data-code]")];
  const settings = {
    name: base,
    model: $("model").value,
    label: $("label")?.value || null,
    strength: Number($("strength")?.value ?? 1),
    codes: codes.map(({ value }) => (value === "" ? null : Number(value))),
    directions: [...$("ways").querySelectorAll("input")].map(({ value }) => Number(value)),
  };
  await turn.run("Editing …", () => ask("/api/edit", settings), ({ name }) => {
    if (base === settings.name) link(name);
  });
  asking = false;
  if (again) {
    again = false;
    change();
    return;
  }
  // If the edit failed, show and save the previous one.
  if (edited && !$("png").hasAttribute("href")) link(edited);
  pressed?.click();
  pressed = null;
}

// Delay clicks until the edited sample is there; the file would be of the previous one.
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

// --- events ----------------------------------------------------------------------------------------

$("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  reconstruct();
});
$("photo").addEventListener("change", allow);
$("cancel").addEventListener("click", () =>
  ask("/api/cancel", {}).then(poll, (error) => notes({ words: message(error), problem: true })),
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
    notes({ words: message(error), problem: true });
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
    const wanted = new URLSearchParams(location.search).get("kept");
    if (kept.some(({ name }) => name === wanted)) {
      $("kept").value = wanted;
      start(wanted);
    } else if (here) {
      $("model").value = search.model;
      fit();
    }
    if (here && (!base || search.state === "running")) watch(search);
    loaded = true;
    allow(); // also if the photograph was chosen before
  }
} catch (error) {
  notes({ words: message(error), problem: true });
}
