// Dialogs above the grid: zoomed image, reasons, keyboard shortcuts.

import { remember, remembered } from "./settings.js";
import { number } from "./view.js";

const element = (tag, text, name = "") =>
  Object.assign(document.createElement(tag), { textContent: text, className: name });

const STATES = { keep: "Kept", drop: "Dropped", rule: "Dropped by rule", open: "Undecided" };

/** The zoomed image with its metadata. */
export class Zoom {
  row = null;

  constructor(dialog, store, closed) {
    this.dialog = dialog;
    this.store = store;
    this.picture = dialog.querySelector("#zoom-picture");
    for (const end of ["load", "error"])
      this.picture.addEventListener(end, () => (this.picture.style.visibility = ""));
    dialog.querySelector("#zoom-close").addEventListener("click", () => this.close());
    dialog.querySelector("figure").addEventListener("click", () => this.close());
    dialog.addEventListener("close", closed);
  }

  get open() {
    return this.dialog.open;
  }

  show(row) {
    if (!row) return this.close();
    this.row = row;
    const address = `/pictures/${row.sha256}`;
    // Hide the previous image until the new one is loaded.
    if (this.picture.getAttribute("src") !== address) this.picture.style.visibility = "hidden";
    this.picture.src = address;
    this.picture.alt = row.title || row.id;
    // Enlarge small images up to four times, without interpolation.
    this.picture.style.setProperty("--w", `${row.width * 4}px`);
    this.picture.style.aspectRatio = `${row.width} / ${row.height}`;
    this.picture.classList.toggle("tiny", Math.max(row.width, row.height) < 96);
    this.dialog.querySelector("#zoom-title").textContent = row.title || row.id;
    this.dialog.querySelector("#zoom-facts").replaceChildren(...this.#facts(row));
    this.refresh();
    if (!this.dialog.open) {
      this.dialog.showModal();
      this.dialog.focus();
    }
  }

  refresh() {
    const status = this.store.status(this.row);
    const reason = this.store.decision(this.row.sha256)?.[1];
    const state = this.dialog.querySelector("#zoom-state");
    state.dataset.status = status;
    state.textContent = [STATES[status], reason].filter(Boolean).join(": ");
  }

  close() {
    this.dialog.close();
  }

  #facts(row) {
    const group = this.store.groups.get(row.cluster);
    const keeper = group.find((other) => other.keeper);
    const kilobytes = `${Math.max(1, Math.round(row.bytes / 1000)).toLocaleString("en")} kB`;
    const facts = [
      ["Rule", row.rule || "passed"],
      ["Creator", row.creator],
      ["Licence", link(row.licence_url, row.licence)],
      ["Source", [row.source, row.query].filter(Boolean).join(": ")],
      ["Page", link(row.page, row.page)],
      ["Address", link(row.url, row.url)],
      ["Class", row.label],
      ["Size", `${row.width}×${row.height} px, ${kilobytes}, ${row.mime.replace("image/", "")}`],
      ["Group", group.length < 2 ? "no near-duplicates" : row.keeper ? `keeper of ${group.length}` : `one of ${group.length}; keeper: ${keeper?.title || keeper?.id}`],
      ["Copies", row.copies > 1 ? `${row.copies} identical files` : ""],
      ...this.store.about.flags.map((name) => [name.replaceAll("_", " "), number(row[name])]),
      ["sha256", element("code", row.sha256)],
    ];
    return facts.filter(([, value]) => value).flatMap(([title, value]) => {
      const definition = document.createElement("dd");
      definition.append(value);
      return [element("dt", title), definition];
    });
  }
}

/** A link for http(s) addresses, plain text for all others. */
function link(address, words) {
  if (!/^https?:\/\//i.test(address)) return words;
  const a = element("a", words || address);
  return Object.assign(a, { href: address, target: "_blank", rel: "noreferrer noopener" });
}

const COMMON = ["off topic", "blurred", "text or watermark", "product photo", "people", "bad crop"];

/** The reason for a decision, and the list of reasons for the number keys. */
export class Why {
  constructor(dialog, decide) {
    this.dialog = dialog;
    this.decide = decide;
    this.text = dialog.querySelector("#why-text");
    this.list = dialog.querySelector("#why-list");
    this.reasons = remembered("reasons", COMMON);
    const finish = (word) => {
      const reason = this.text.value.trim();
      if (reason) this.#remember(reason);
      dialog.close();
      decide(word, reason, this.rows);
    };
    dialog.querySelector("#why-drop").addEventListener("click", () => finish("drop"));
    dialog.querySelector("#why-keep").addEventListener("click", () => finish("keep"));
    dialog.querySelector("#why-add").addEventListener("click", () => {
      this.#remember(this.text.value.trim());
      this.text.focus();
    });
    this.text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      finish(this.word);
    });
  }

  get open() {
    return this.dialog.open;
  }

  /** The n-th reason, from 1. */
  reason(n) {
    return this.reasons[n - 1];
  }

  /** Ask for the reason for a decision on these rows; on kept images, Enter keeps. */
  ask(rows, store) {
    this.rows = rows;
    const decisions = rows.map((row) => store.decision(row.sha256));
    this.word = decisions.every((decision) => decision?.[0] === "keep") ? "keep" : "drop";
    const title = rows.length > 1 ? `Reason for ${rows.length} images` : "Reason";
    this.dialog.querySelector("#why-title").textContent = title;
    this.text.value = decisions[0]?.[1] ?? "";
    const hint = this.dialog.querySelector("#why-drop kbd");
    this.dialog.querySelector(`#why-${this.word}`).append(" ", hint);
    this.#draw();
    this.dialog.showModal();
    this.text.focus();
    this.text.select();
  }

  #remember(reason) {
    if (!reason || this.reasons.includes(reason)) return;
    this.#save([...this.reasons, reason]);
  }

  #save(reasons) {
    this.reasons = reasons;
    remember("reasons", reasons);
    this.#draw();
  }

  #draw() {
    this.list.replaceChildren(
      ...this.reasons.map((reason, i) => {
        const item = document.createElement("li");
        const use = element("button", "", "use");
        use.append(element("kbd", i < 9 ? i + 1 : ""), element("span", reason));
        use.addEventListener("click", () => {
          this.text.value = reason;
          this.text.focus();
        });
        const remove = element("button", "✕", "remove");
        remove.setAttribute("aria-label", `Remove the reason ${reason}`);
        remove.addEventListener("click", () => this.#save(this.reasons.filter((r) => r !== reason)));
        use.type = remove.type = "button";
        item.append(use, remove);
        return item;
      }),
    );
  }
}

const KEYS = [
  ["Decide", [["K", "keep"], ["D", "drop"], ["1 … 9", "drop with the reason of that number"], ["R", "enter a reason; edit the list"], ["X", "clear the decision"], ["U, Ctrl+Z", "undo"], ["Shift+U, Ctrl+Y", "redo"]]],
  ["View", [["Arrows", "move; also Home, End, Page Up, Page Down"], ["Space", "open or close the zoomed image"], ["L", "sort by similarity to this image"], ["G", "groups of near-duplicates"], ["V", "update the view: hide images that no longer match"], ["/", "search"], ["+ −", "tile size"]]],
  ["Select many", [["Shift+arrows, Shift+click", "a range"], ["Ctrl+click", "add or remove one"], ["Drag", "all in a rectangle"], ["Ctrl+A", "all shown"], ["C", "the whole group"], ["Esc", "clear the selection"]]],
];

export class Help {
  constructor(dialog) {
    this.dialog = dialog;
    dialog.querySelector("#help-keys").replaceChildren(
      ...KEYS.map(([title, keys]) => {
        const section = element("section", "");
        const list = document.createElement("dl");
        for (const [key, meaning] of keys) {
          const term = document.createElement("dt");
          const parts = key.split(", ").map((part) => element("kbd", part));
          term.append(...parts);
          list.append(term, element("dd", meaning));
        }
        section.append(element("h3", title), list);
        return section;
      }),
    );
  }

  get isOpen() {
    return this.dialog.open;
  }

  open() {
    this.dialog.showModal();
  }
}
