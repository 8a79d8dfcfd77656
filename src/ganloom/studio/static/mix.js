// The page for interpolations: rows of images from one end to another.

import { $, ask, element, fillModels, message, notes, origin, Turn } from "./make.js";

const turn = new Turn();
let models = new Map();
let kept = [];

// --- settings --------------------------------------------------------------------------------------

const what = () => $("settings").elements.what.value;
const number = (id) => Number($(id).value);
const end = (id) => ($(id).value ? { kept: $(id).value } : { seed: number(`${id}-seed`) });

/** Offer the classes of the model, if it has any, and its kept samples. */
function fit() {
  const { name, classes } = models.get($("model").value);
  $("what").hidden = classes.length < 2;
  if (classes.length < 2) $("settings").elements.what.value = "ends";
  const mine = kept.filter(({ model }) => model === name);
  for (const id of ["from", "to"]) {
    const options = mine.map((one) => [one.name, `kept: ${origin(one)}`]);
    fill($(id), [["", "a seed"], ...options]);
  }
  for (const id of ["first", "second"]) fill($(id), classes.map((label) => [label, label]));
  $("second").selectedIndex = Math.min(1, classes.length - 1);
  show();
}

function fill(select, options) {
  const before = select.value;
  select.replaceChildren(
    ...options.map(([value, words]) => Object.assign(element("option", words), { value })),
  );
  if (options.some(([value]) => value === before)) select.value = before;
}

function show() {
  for (const id of ["ends", "classes"]) {
    $(id).hidden = what() !== id;
    for (const field of $(id).querySelectorAll("input, select")) field.disabled = $(id).hidden;
  }
  for (const id of ["from", "to"]) {
    $(`${id}-seed-label`).hidden = Boolean($(id).value);
    $(`${id}-seed`).disabled = $("ends").hidden || Boolean($(id).value);
  }
  // Between two kept samples there is only one transition.
  const fixed = what() === "ends" && $("from").value && $("to").value;
  $("transitions").disabled = Boolean(fixed);
  $("transitions-said").value = fixed ? 1 : $("transitions").value;
  $("interpolations-said").value = $("interpolations").value;
}

// --- mixing ----------------------------------------------------------------------------------------

function mix() {
  if (!models.size || !$("settings").reportValidity()) return;
  const settings = {
    model: $("model").value,
    path: $("path").value,
    transitions: Number($("transitions-said").value),
    interpolations: number("interpolations"),
    ...(what() === "ends"
      ? { ends: [end("from"), end("to")] }
      : { classes: [$("first").value, $("second").value], seed: number("seed") }),
  };
  const work = async () => {
    const { name } = await ask("/api/mix", settings);
    const strip = new Image();
    strip.src = `/mixes/${name}.png`;
    await strip.decode();
    return name;
  };
  turn.run("Mixing …", work, (name) => {
    $("strip").src = `/mixes/${name}.png`;
    $("strip").alt = `${settings.transitions} ${settings.transitions > 1 ? "rows" : "row"} of ${settings.interpolations + 2} images`;
    for (const kind of ["png", "gif", "mp4"]) {
      $(kind).href = `/mixes/${name}.${kind}`;
      $(kind).download = `${settings.model.replace("/", "_")}_mix_${name}.${kind}`;
    }
    $("mix").hidden = false;
    $("mix").dataset.name = name;
    if (!$("moving").hidden) play();
  });
}

/** Play the GIF: the content security policy allows images, but no videos. */
function play() {
  $("moving").hidden = false;
  $("moving").src = `/mixes/${$("mix").dataset.name}.gif`;
  $("play").setAttribute("aria-pressed", "true");
}

function stop() {
  $("moving").hidden = true;
  $("moving").removeAttribute("src");
  $("play").setAttribute("aria-pressed", "false");
}

// --- events ----------------------------------------------------------------------------------------

$("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  mix();
});
$("settings").addEventListener("input", show);
$("settings").addEventListener("change", (event) => {
  if (event.target === $("model")) fit();
  mix();
});
const turnPlay = () => ($("moving").hidden ? play() : stop());
$("play").addEventListener("click", turnPlay);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.matches("input:not([type=radio], [type=range]), select")) return;
  if (event.key.toLowerCase() === "p" && !$("mix").hidden) turnPlay();
});

// --- start -----------------------------------------------------------------------------------------

try {
  models = await fillModels($("model"));
  ({ kept } = await ask("/api/kept"));
  if (models.size) {
    fit();
    $("from").value = new URLSearchParams(location.search).get("kept") ?? "";
    if ($("from").selectedIndex < 0) $("from").value = "";
    show();
    mix();
  }
} catch (error) {
  notes({ words: message(error), problem: true });
}
