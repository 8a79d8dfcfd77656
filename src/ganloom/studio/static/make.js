// Shared by the pages that use a generator: models, codes, tiles, notes and the theme.

import { remember, remembered } from "./settings.js";
import { ask } from "./store.js";

export { ask };
export const $ = (id) => document.getElementById(id);
export const element = (tag, text = "", name = "") =>
  Object.assign(document.createElement(tag), { textContent: text, className: name });

// --- theme, shared with the page for curation ------------------------------------------------------

const THEMES = { "": "Auto", light: "Light", dark: "Dark" };

let theme = remembered("view", {}).theme ?? "";

function colour() {
  document.documentElement.style.colorScheme = theme || "light dark";
  $("theme").textContent = `◐ ${THEMES[theme]}`;
  $("theme").setAttribute("aria-label", `Colours: ${THEMES[theme]}`);
}
colour();
$("theme").addEventListener("click", () => {
  theme = { "": "light", light: "dark", dark: "" }[theme];
  colour();
  remember("view", { ...remembered("view", {}), theme });
});

let standing = []; // notes that stay

// --- status and notes ------------------------------------------------------------------------------

export const status = (words) => ($("status").textContent = words);

/** Replace the notes below the header; those with `problem` are red. */
export function notes(...lines) {
  $("notes").replaceChildren(
    ...lines.map(({ words, problem }) => element("p", words, problem ? "problem" : "")),
  );
}

/** Remove all notes but those about the models. */
export const clear = () => notes(...standing);

/** Message of an error, from the server or about the connection. */
export const message = (error) =>
  error.status ? error.message : "The server does not answer. To start it: ganloom studio";

/** Run asynchronous work; only the result of the latest call is used. */
export class Turn {
  #newest = 0;

  async run(words, work, done) {
    const mine = ++this.#newest;
    status(words);
    document.body.setAttribute("aria-busy", "true");
    let failed = null;
    let result;
    try {
      result = await work();
    } catch (error) {
      failed = error;
    }
    if (mine !== this.#newest) return;
    document.body.removeAttribute("aria-busy");
    status("");
    if (failed) notes({ words: message(failed), problem: true });
    else {
      clear();
      done(result);
    }
  }
}


// --- models ----------------------------------------------------------------------------------------

/** Fill the select of models, choose the one in the URL, and return all by name. */
export async function fillModels(select, fits = () => true) {
  const { models } = await ask("/api/models");
  const whole = models.filter((model) => !model.problem && fits(model));
  standing = models.filter((m) => m.problem).map((m) => ({ words: m.problem, problem: true }));
  for (const { name, former } of models.filter((model) => model.former && !model.problem)) {
    const words = `${name} is being trained, or was removed. Its last finished training is used, of ${former}.`;
    standing.push({ words });
  }
  if (models.every((model) => model.example || model.problem)) {
    const words =
      "No model has been trained in this project yet. This is a small example that comes with ganloom. " +
      "To train a model: snakemake --cores 8 results/report.html. " +
      'To choose a recipe: docs/models.md, "Which to choose".';
    standing.push({ words });
  }
  clear();
  select.replaceChildren(
    ...whole.map((model) => {
      const words = `${model.name}, ${model.resolution} px`;
      return Object.assign(element("option", words), { value: model.name });
    }),
  );
  const wanted = new URLSearchParams(location.search).get("model");
  if (whole.some(({ name }) => name === wanted)) select.value = wanted;
  return new Map(whole.map((model) => [model.name, model]));
}

/** A labelled select. */
export function choice(words, id, options, first) {
  const label = element("label", words + " ");
  const select = Object.assign(element("select"), { id });
  if (first !== undefined) select.append(Object.assign(element("option", first), { value: "" }));
  for (const [value, shown] of options)
    select.append(Object.assign(element("option", shown), { value }));
  label.append(select);
  return label;
}

/** Add selects for class and codes of a model; with "drawn", the seed decides. */
export function fillInputs(place, model) {
  const selects = [];
  if (model.classes.length)
    selects.push(choice("Class", "label", model.classes.map((name) => [name, name]), "any"));
  const values = (n) => Array.from({ length: n }, (_, i) => [i, i]);
  const sweep = [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1].map((x) => [x, x]);
  const codes = [...model.categorical.map(values), ...Array(model.continuous).fill(sweep)];
  codes.forEach((options, i) => {
    const label = choice(`Code ${i + 1}`, `code-${i}`, options, "drawn");
    label.lastChild.dataset.code = i;
    selects.push(label);
  });
  place.replaceChildren(...selects);
}

/** Values of these selects, in the form of the API. */
export function inputs(place) {
  const label = place.querySelector("#label")?.value || null;
  const codes = [...place.querySelectorAll("[data-code]")];
  return { label, codes: codes.map(({ value }) => (value === "" ? null : Number(value))) };
}

// --- samples ---------------------------------------------------------------------------------------

export const png = (name) => `/samples/${encodeURIComponent(name)}.png`;

/** A sample as a toggle button, pressed while it is kept. */
export function tile(name, words, pressed) {
  const button = element("button", "", "sample");
  Object.assign(button, { type: "button", title: words });
  button.dataset.name = name;
  button.setAttribute("aria-pressed", pressed);
  const image = element("img");
  crisp(image);
  button.append(Object.assign(image, { src: png(name), alt: words }));
  return button;
}

/** Enlarge small images without interpolation, to show their actual pixels. */
export function crisp(image) {
  const look = () => image.classList.toggle("tiny", image.naturalHeight < 96);
  image.addEventListener("load", look);
}

/** Roving tabindex: arrow keys move within a group of buttons, Tab enters and leaves it. */
export function roving(group) {
  const all = () => [...group.querySelectorAll("button")];
  const enter = (button) => {
    for (const other of all()) other.tabIndex = other === button ? 0 : -1;
  };
  new MutationObserver(() => {
    const buttons = all();
    if (!buttons.some((b) => b.tabIndex === 0 && b.hasAttribute("tabindex"))) enter(buttons[0]);
  }).observe(group, { childList: true });
  group.addEventListener("focusin", ({ target }) => {
    if (target.closest("button")) enter(target.closest("button"));
  });
  group.addEventListener("keydown", (event) => {
    const buttons = all();
    const at = buttons.indexOf(document.activeElement);
    const top = buttons[0]?.offsetTop;
    const columns = buttons.filter((button) => button.offsetTop === top).length;
    const to = {
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      ArrowUp: at - columns,
      ArrowDown: at + columns,
      Home: 0,
      End: buttons.length - 1,
    }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    buttons[to]?.focus();
  });
}

/** One line about the origin of a sample. */
export function origin({ model, made }) {
  const parts = [model];
  if (made.seed !== undefined) parts.push(`seed ${made.seed}`);
  if (made.count > 1) parts.push(`${made.number + 1} of ${made.count}`);
  if (made.label) parts.push(made.label);
  if (made.truncation < 1) parts.push(`truncation ${made.truncation}`);
  if (made.photo) parts.push("from a photograph");
  if (made.edited) parts.push("edited");
  return parts.join(", ");
}

/** Fill a definition list, without empty values. */
export function facts(list, pairs) {
  list.replaceChildren(
    ...pairs
      .filter(([, value]) => value !== "" && value !== undefined && value !== null)
      .flatMap(([title, value]) => [element("dt", title), element("dd", value)]),
  );
}
