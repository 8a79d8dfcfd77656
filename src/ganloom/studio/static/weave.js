// The page for weaves: a sample as a seamless tile, repeated over the stage, or as a cloth.

import { $, ask, clear, element, fillInputs, fillModels, inputs, message, notes, origin, roving, status } from "./make.js";
import { remember, remembered } from "./settings.js";

const MARGIN = 16; // CSS px around a cloth
const FILES = ["tile", "cloth", "compared"];

let models = new Map();
let patterns = null; // groups and sizes from the server
let kept = new Map(); // name -> {model, sha256, made}
let place = [0, 0]; // position of the tile, in sides of the sample
let shown = null; // {name, cloth, choices, image, state} on the stage

const group = () => $("settings").elements.group.value;
const address = (name, file) => `/weaves/${encodeURIComponent(name)}/${file}.png`;

// --- weaving ---------------------------------------------------------------------------------------

function settings() {
  return {
    model: $("model").value,
    seed: Number($("seed").value),
    group: group(),
    border: $("border").value || null,
    place,
    width: Number($("width").value),
    drift: Number($("drift").value),
    truncation: Number($("truncation").value),
    ...inputs($("inputs")),
  };
}

let asking = false; // one preview at a time; the settings may change meanwhile
let again = false;
let recalled = null; // the kept weave that the settings are from
let loading = null; // the full-size image that is being loaded

/** Show a preview of the settings, then the full size; `from`: the kept weave they are from. */
async function weave(from = null) {
  recalled = from;
  if (!models.size || !$("settings").checkValidity()) return;
  describe();
  again = true;
  stopLoading();
  if (asking) return;
  asking = true;
  document.body.setAttribute("aria-busy", "true");
  status("Weaving …");
  let failed = null;
  while (again) {
    again = false;
    const choices = settings();
    try {
      const { name, cloth } = await ask("/api/weave", choices);
      paint({ name, cloth, choices, image: await picture(address(name, "preview")), state: "preview" });
      link();
      failed = null;
    } catch (error) {
      failed = error;
    }
  }
  asking = false;
  if (failed) {
    finish(failed);
    return;
  }
  history.replaceState(null, "", `?${new URLSearchParams({ model: shown.choices.model, seed: shown.choices.seed })}`);
  if (!dragging) enlarge();
}

/** Replace the preview by the image at full size. */
async function enlarge() {
  if (!shown || asking || loading || shown.state === "full") return;
  const { name, cloth, choices } = shown;
  const mine = (loading = new Image());
  try {
    const image = await picture(address(name, "shown"), mine);
    if (mine !== loading) return;
    loading = null;
    paint({ name, cloth, choices, image, state: "full" });
    finish(null);
  } catch (error) {
    if (mine !== loading) return;
    loading = null;
    finish(error);
  }
}

function stopLoading() {
  loading?.removeAttribute("src");
  loading = null;
}

function finish(failed) {
  document.body.removeAttribute("aria-busy");
  status("");
  if (failed) notes({ words: message(failed), problem: true });
  else about();
}

/** Update the notes about the current weave. */
function about() {
  clear();
  if (!patterns.enlarger) {
    const words = "This project has no enlarger, so images are enlarged by interpolation.";
    $("notes").append(element("p", words));
  }
  if (recalled && recalled !== shown.name) {
    const words = "The model or the enlarger has changed since this weave was kept. This is the current result of its settings. The kept image: ";
    const note = element("p", words);
    note.append(Object.assign(element("a", `${recalled}.png`), { href: address(recalled, "kept") }));
    $("notes").append(note);
  }
}

/** Load and decode an image; on failure, throw the server's message. */
async function picture(source, image = new Image()) {
  image.src = source;
  try {
    await image.decode();
  } catch (error) {
    if (!image.hasAttribute("src")) throw error;
    await ask(source);
    throw error;
  }
  return image;
}

// --- the stage -------------------------------------------------------------------------------------

const stage = $("stage");

/** CSS px on the stage per px of the tile or cloth to download. */
function scale() {
  if (!shown?.cloth) return 2 ** Number($("magnify").value);
  return (Math.min(stage.clientWidth, stage.clientHeight) - 2 * MARGIN) / patterns.cloth;
}

function paint(next = shown) {
  shown = next;
  if (!shown) return;
  const { image, cloth, choices } = shown;
  const ratio = devicePixelRatio;
  const [width, height] = [stage.clientWidth, stage.clientHeight].map((px) => Math.round(px * ratio));
  if (!width || !height) return;
  if (stage.width !== width || stage.height !== height) Object.assign(stage, { width, height });
  const context = stage.getContext("2d");
  context.clearRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  if (cloth) {
    const side = Math.round(patterns.cloth * scale() * ratio);
    context.drawImage(image, Math.floor((width - side) / 2), Math.floor((height - side) / 2), side, side);
  } else {
    // Scale once, to whole pixels, so that the repeated tile has no seams.
    const wide = Math.max(1, Math.round(choices.width * scale() * ratio));
    const high = Math.max(1, Math.round((wide * image.naturalHeight) / image.naturalWidth));
    const tile = Object.assign(document.createElement("canvas"), { width: wide, height: high });
    const drawn = tile.getContext("2d");
    drawn.imageSmoothingQuality = "high";
    drawn.drawImage(image, 0, 0, wide, high);
    const repeated = context.createPattern(tile, "repeat");
    repeated.setTransform(new DOMMatrix([1, 0, 0, 1, Math.floor(width / 2), Math.floor(height / 2)]));
    context.fillStyle = repeated;
    context.fillRect(0, 0, width, height);
  }
  stage.dataset.state = shown.state;
  stage.dataset.name = shown.name;
  stage.setAttribute("aria-label", `Cloth: ${origin({ model: choices.model, made: choices })}, ${choices.group}`);
  $("magnify-label").hidden = cloth;
}

/** Side of the sample in CSS px on the stage. */
function side() {
  const { across } = patterns.groups.find(({ name }) => name === group());
  return (Number($("width").value) * scale()) / across;
}

/** Move the tile on the sample, in whole pixels, so that a position can be found again. */
function move(x, y) {
  const { resolution } = models.get($("model").value);
  const next = [x, y].map((at) => {
    const pixel = Math.round(at * resolution) % (2 * resolution);
    return (pixel < 0 ? pixel + 2 * resolution : pixel) / resolution;
  });
  if (next[0] === place[0] && next[1] === place[1]) return;
  place = next;
  weave();
}

let dragging = null; // {x, y, place} at the start

stage.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !shown) return;
  dragging = { x: event.clientX, y: event.clientY, place };
  stage.setPointerCapture(event.pointerId);
  stage.classList.add("dragging");
});
stage.addEventListener("pointermove", (event) => {
  if (!dragging) return;
  const [x, y] = dragging.place;
  move(x - (event.clientX - dragging.x) / side(), y - (event.clientY - dragging.y) / side());
});
for (const kind of ["pointerup", "pointercancel"])
  stage.addEventListener(kind, () => {
    if (!dragging) return;
    dragging = null;
    stage.classList.remove("dragging");
    enlarge();
  });
stage.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  if (!step || !models.size || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const by = (event.shiftKey ? 8 : 1) / models.get($("model").value).resolution;
  move(place[0] + step[0] * by, place[1] + step[1] * by);
});
new ResizeObserver(() => paint()).observe(stage);

// --- settings --------------------------------------------------------------------------------------

function describe() {
  const words = ({ symmetries } = { symmetries: "" }) => symmetries;
  $("symmetries").textContent = words(patterns.groups.find(({ name }) => name === group()));
  $("border-symmetries").textContent = words(
    patterns.borders.find(({ name }) => name === $("border").value),
  );
  for (const id of ["drift", "truncation"]) $(`${id}-said`).value = $(id).value;
  $("magnify-said").value = `${Math.round(100 * 2 ** Number($("magnify").value))} %`;
  $("place").value = place.map((at) => at.toFixed(2)).join(", ");
  $("back").disabled = !place[0] && !place[1];
}

function fillPatterns() {
  $("groups").replaceChildren(
    ...patterns.groups.map(({ name, symmetries }) => {
      const label = element("label", "", "chip");
      label.title = symmetries;
      const radio = Object.assign(element("input"), { type: "radio", name: "group", value: name, checked: name === "p4m" });
      label.append(radio, element("span", name));
      return label;
    }),
  );
  const option = (value, text) => Object.assign(element("option", text), { value });
  $("border").append(...patterns.borders.map(({ name }) => option(name, name)));
  $("width").append(...patterns.widths.map((px) => option(px, `${px} px`)));
  $("width").value = 512;
}

/** Restore the settings of a kept weave. */
function recall(name) {
  const { model, made } = kept.get(name);
  if (!models.has(model)) {
    notes({ words: `The model ${model} of this weave no longer exists.`, problem: true });
    return;
  }
  $("model").value = model;
  fillInputs($("inputs"), models.get(model));
  for (const id of ["seed", "drift", "truncation"]) $(id).value = made[id];
  if (![...$("width").options].some(({ value }) => Number(value) === made.width))
    $("width").append(Object.assign(element("option", `${made.width} px`), { value: made.width }));
  $("width").value = made.width;
  $("border").value = made.border ?? "";
  $("settings").elements.group.value = made.group;
  if (made.label) $("inputs").querySelector("#label").value = made.label;
  for (const select of $("inputs").querySelectorAll("[data-code]"))
    select.value = made.codes[select.dataset.code] ?? "";
  place = made.place;
  weave(name);
}

// --- keeping and downloads -------------------------------------------------------------------------

function link() {
  const { name, choices } = shown;
  $("keep").disabled = false;
  $("keep").firstChild.data = kept.has(name) ? "Forget " : "Keep ";
  for (const id of FILES) {
    $(id).href = address(name, id);
    $(id).download = `${choices.model.replace("/", "_")}_${id}_${name}.png`;
  }
  for (const button of $("kept").children)
    button.setAttribute("aria-pressed", button.dataset.name === name);
}

let making = 0; // number of files being made

/** Download a file with fetch, to show progress and errors on the page. */
async function save(event) {
  event.preventDefault();
  const { href, download, textContent } = event.currentTarget;
  making += 1;
  status(`Making a file: ${textContent.toLowerCase()} …`);
  try {
    const answer = await fetch(href);
    if (!answer.ok) {
      const { problem } = await answer.json();
      throw Object.assign(new Error(problem), { status: answer.status });
    }
    const file = URL.createObjectURL(await answer.blob());
    Object.assign(element("a"), { href: file, download }).click();
    URL.revokeObjectURL(file);
    ended();
  } catch (error) {
    ended();
    notes({ words: message(error), problem: true });
  }
}

/** Clear the status when the last file is done. */
function ended() {
  making -= 1;
  if (!making && !document.body.hasAttribute("aria-busy")) status("");
}

function learn(answer) {
  const had = $("kept").contains(document.activeElement);
  kept = new Map(answer.kept.map(({ name, ...about }) => [name, about]));
  $("kept").replaceChildren(
    ...[...kept].map(([name, about]) => {
      const words = [origin(about), about.made.group, about.made.border].filter(Boolean).join(", ");
      const button = Object.assign(element("button", "", "sample"), { type: "button", title: words });
      button.dataset.name = name;
      button.append(Object.assign(element("img"), { src: address(name, "kept"), alt: words, loading: "lazy" }));
      return button;
    }),
  );
  if (had) ($("kept").firstChild ?? stage).focus();
  $("kept-section").hidden = !kept.size;
  $("kept-where").replaceChildren(`${kept.size}, in `, element("code", answer.folder));
  if (shown) link();
}

async function toggle() {
  if (!shown) return;
  const { name } = shown;
  try {
    learn(await ask(`/api/weaves/${kept.has(name) ? "forget" : "keep"}`, { name }));
  } catch (error) {
    notes({ words: message(error), problem: true });
  }
}

// --- events ----------------------------------------------------------------------------------------

$("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  weave();
});
const next = () => {
  $("seed").value = (Number($("seed").value) + 1) % 2 ** 32;
  weave();
};
const back = () => move(0, 0);
$("next").addEventListener("click", next);
$("back").addEventListener("click", () => {
  back();
  stage.focus({ preventScroll: true, focusVisible: false }); // the button is disabled now and cannot keep the focus
});
$("settings").addEventListener("input", ({ target }) => {
  if (target === $("model")) fillInputs($("inputs"), models.get(target.value));
  weave();
});
$("magnify").addEventListener("input", () => {
  remember("weave", { zoom: $("magnify").value });
  describe();
  paint();
});
$("keep").addEventListener("click", toggle);
for (const id of FILES) $(id).addEventListener("click", save);
$("kept").addEventListener("click", ({ target }) => {
  const name = target.closest("button")?.dataset.name;
  if (name) recall(name);
});
roving($("kept"));

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.matches("input:not([type=range], [type=radio]), select")) return;
  const press = { n: next, k: toggle, 0: back }[event.key.toLowerCase()];
  if (press && models.size) press();
});

// --- start -----------------------------------------------------------------------------------------

try {
  patterns = await ask("/api/patterns");
  fillPatterns();
  $("seed").value = new URLSearchParams(location.search).get("seed") ?? 0;
  $("magnify").value = remembered("weave", {}).zoom ?? -1;
  models = await fillModels($("model"));
  if (models.size) fillInputs($("inputs"), models.get($("model").value));
  about();
  weave();
  learn(await ask("/api/weaves"));
} catch (error) {
  notes({ words: message(error), problem: true });
}
