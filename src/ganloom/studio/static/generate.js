// The page for samples: a grid of samples from a seed; a click keeps one.

import { $, ask, crisp, element, facts, fillInputs, fillModels, inputs, message, notes, origin, png, roving, tile, Turn } from "./make.js";

const turn = new Turn();
let models = new Map();
let kept = new Map(); // name -> {model, made}
let shown = new Map(); // name -> {model, made}, of the grid

// --- generating ------------------------------------------------------------------------------------

function generate() {
  if (!$("settings").reportValidity() || !models.size) return;
  const settings = {
    model: $("model").value,
    seed: Number($("seed").value),
    count: Number($("count").value),
    truncation: Number($("truncation").value),
    ...inputs($("inputs")),
  };
  const before = $("one").dataset.name;
  const words = `Generating ${settings.count} ${settings.count > 1 ? "samples" : "sample"} …`;
  turn.run(words, () => ask("/api/generate", settings), ({ pictures }) => {
    const address = new URLSearchParams({ model: settings.model, seed: settings.seed });
    history.replaceState(null, "", `?${address}`);
    const { model, ...made } = settings;
    shown = new Map(pictures.map((name, number) => [name, { model, made: { ...made, number } }]));
    draw($("pictures"), shown);
    const one = $("one").dataset.name;
    if (one === before || !kept.has(one)) look(pictures[0]); // unless a kept one was chosen meanwhile
  });
}

function draw(place, pictures) {
  const had = place.contains(document.activeElement) && document.activeElement.dataset.name;
  const tiles = [...pictures].map(([name, about]) => tile(name, origin(about), kept.has(name)));
  place.replaceChildren(...tiles);
  if (had) (tiles.find(({ dataset }) => dataset.name === had) ?? tiles[0])?.focus();
}

// --- one sample ------------------------------------------------------------------------------------

function look(name) {
  const about = shown.get(name) ?? kept.get(name);
  $("one").hidden = !about;
  if (!about) return;
  $("one").dataset.name = name;
  $("one-picture").src = png(name);
  $("one-picture").alt = origin(about);
  const { made } = about;
  facts($("one-facts"), [
    ["Model", about.model],
    ["Seed", made.seed],
    ["Number", made.count && `${made.number + 1} of ${made.count}`],
    ["Truncation", made.truncation],
    ["Class", made.label],
    ["Codes", made.codes?.map((code) => code ?? "drawn").join(", ")],
    ["From", made.photo ? "a photograph" : made.edited && "the page Edit"],
  ]);
  $("one-keep").textContent = kept.has(name) ? "Forget" : "Keep";
  $("one-png").href = png(name);
  $("one-png").download = `${about.model.replace("/", "_")}_${name}.png`;
  $("one-large").href = `/samples/${name}/large.png`;
  $("one-large").download = `${about.model.replace("/", "_")}_${name}_large.png`;
  $("one-json").href = `/samples/${name}.json`;
  $("one-json").download = `${about.model.replace("/", "_")}_${name}.json`;
  const address = new URLSearchParams({ model: about.model, kept: name });
  for (const page of ["mix", "edit"]) {
    $(`one-${page}`).href = `/${page}?${address}`;
    $(`one-${page}`).hidden = !kept.has(name);
  }
}

async function toggle(name) {
  try {
    learn(await ask(kept.has(name) ? "/api/forget" : "/api/keep", { name }));
  } catch (error) {
    notes({ words: message(error), problem: true });
    return;
  }
  look(name);
}

function learn(answer) {
  kept = new Map(answer.kept.map(({ name, ...about }) => [name, about]));
  for (const button of $("pictures").children)
    button.setAttribute("aria-pressed", kept.has(button.dataset.name));
  draw($("kept"), kept);
  $("kept-section").hidden = !kept.size;
  $("kept-where").replaceChildren(`${kept.size}, in `, element("code", answer.folder));
}

// --- events ----------------------------------------------------------------------------------------

$("pictures").addEventListener("click", ({ target }) => {
  const name = target.closest("button")?.dataset.name;
  if (name) toggle(name);
});
$("kept").addEventListener("click", ({ target }) => look(target.closest("button")?.dataset.name));
for (const place of ["pictures", "kept"]) {
  roving($(place));
  $(place).addEventListener("focusin", ({ target }) => look(target.closest("button").dataset.name));
}
$("one-keep").addEventListener("click", () => toggle($("one").dataset.name));

$("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  generate();
});
const next = () => {
  $("seed").value = (Number($("seed").value) + 1) % 2 ** 32;
  generate();
};
$("next").addEventListener("click", next);
$("model").addEventListener("change", () => {
  fillInputs($("inputs"), models.get($("model").value));
  generate();
});
const sayTruncation = () => ($("truncation-said").value = $("truncation").value);
$("truncation").addEventListener("input", sayTruncation);
$("truncation").addEventListener("change", generate);
$("inputs").addEventListener("change", generate);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.matches("input, select")) return;
  if (event.key.toLowerCase() === "n") next();
});

crisp($("one-picture"));

// --- start -----------------------------------------------------------------------------------------

try {
  sayTruncation();
  $("seed").value = new URLSearchParams(location.search).get("seed") ?? 0;
  models = await fillModels($("model"));
  learn(await ask("/api/kept"));
  if (models.size) fillInputs($("inputs"), models.get($("model").value));
  generate();
} catch (error) {
  notes({ words: message(error), problem: true });
}
