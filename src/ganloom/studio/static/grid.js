// A virtual grid for thousands of tiles: only those near the screen are in the document.
//
// The layout assigns a rectangle to every image; groups are cards around their images. The list keeps
// the keyboard focus and points assistive technology to the focused tile (aria-activedescendant).

const GAP = 10; // px
const PAD = 10; // px, around the sheet and within a card
const HEAD = 30; // px, a card's headline

export class Grid {
  size = 144; // px, least side of a tile
  side = 144; // px, as laid out
  cards = []; // of groups: {x, y, w, h, title}
  rows = []; // images in order
  places = []; // of each: {x, y}
  focus = -1;
  selected = new Set(); // hashes

  #box;
  #sheet;
  #paint;
  #tiles = new Map(); // position -> element
  #heads = new Map();
  #groups = null;
  #frame = 0;

  /**
   * @param box the scrolling element
   * @param sheet its content
   * @param paint (tile, row) updates a tile with the state of its image
   */
  constructor(box, sheet, paint) {
    this.#box = box;
    this.#sheet = sheet;
    this.#paint = paint;
    box.addEventListener("scroll", () => this.#soon(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(box);
  }

  /** Show images; with `groups` (arrays of rows), in cards. */
  show(rows, groups = null) {
    const focused = this.rows[this.focus]?.sha256;
    this.rows = groups ? groups.flat() : rows;
    this.#groups = groups;
    const at = this.rows.findIndex((row) => row.sha256 === focused);
    this.focus = this.rows.length ? Math.max(at, 0) : -1;
    this.layout();
    this.reveal();
  }

  // --- geometry --------------------------------------------------------------------------------

  layout() {
    const width = this.#box.clientWidth - 2 * PAD;
    if (width <= 0) return;
    const columns = Math.max(1, Math.floor((width + GAP) / (this.size + GAP)));
    // Without groups, tiles grow to fill the lines.
    this.side = this.#groups ? this.size : Math.floor((width + GAP) / columns) - GAP;
    const step = this.side + GAP;
    this.places = [];
    this.cards = [];
    const height = this.#groups ? this.#cards(width, step) : this.#plain(columns, step);
    this.#sheet.style.height = `${height}px`;
    this.#sheet.style.setProperty("--size", `${this.side}px`);
    for (const kept of [this.#tiles, this.#heads]) {
      for (const element of kept.values()) element.remove();
      kept.clear();
    }
    this.#draw();
  }

  #plain(columns, step) {
    this.rows.forEach((_, i) =>
      this.places.push({ x: PAD + (i % columns) * step, y: PAD + Math.floor(i / columns) * step }),
    );
    return 2 * PAD - GAP + Math.ceil(this.rows.length / columns) * step;
  }

  /** Cards side by side on shelves as wide as the list. */
  #cards(width, step) {
    const most = Math.max(1, Math.floor((width - 2 * PAD + GAP) / step));
    let [x, y, shelf] = [PAD, PAD, 0];
    for (const members of this.#groups) {
      const columns = Math.min(members.length, most);
      const lines = Math.ceil(members.length / columns);
      const w = columns * step - GAP + 2 * PAD;
      const h = HEAD + lines * step - GAP + PAD;
      if (x > PAD && x + w > PAD + width) [x, y, shelf] = [PAD, y + shelf + GAP, 0];
      const title = `${members.length} near-duplicates`;
      this.cards.push({ x, y, w, h, title });
      members.forEach((_, i) =>
        this.places.push({
          x: x + PAD + (i % columns) * step,
          y: y + HEAD + Math.floor(i / columns) * step,
        }),
      );
      x += w + GAP;
      shelf = Math.max(shelf, h);
    }
    return y + shelf + PAD;
  }

  // --- drawing ---------------------------------------------------------------------------------

  #soon() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #draw() {
    const { scrollTop, clientHeight } = this.#box;
    const [top, bottom] = [scrollTop - clientHeight / 2, scrollTop + clientHeight * 1.5];
    const near = ({ y, h = this.side }) => y + h >= top && y <= bottom;
    this.#update(this.#heads, this.cards, near, (card) => this.#card(card));
    this.#update(this.#tiles, this.places, near, (_, i) => this.#tile(i));
  }

  #update(kept, all, near, make) {
    for (const [i, element] of kept)
      if (!near(all[i])) {
        element.remove();
        kept.delete(i);
      }
    const fresh = document.createDocumentFragment();
    for (let i = firstNear(all, near); i < all.length && near(all[i]); i++)
      if (!kept.has(i)) {
        const element = make(all[i], i);
        kept.set(i, element);
        fresh.append(element);
      }
    this.#sheet.append(fresh);
  }

  #card({ x, y, w, h, title }) {
    const card = document.createElement("div");
    card.className = "card";
    card.role = "presentation";
    Object.assign(card.style, { transform: `translate(${x}px,${y}px)`, width: `${w}px`, height: `${h}px` });
    card.append(Object.assign(document.createElement("span"), { textContent: title }));
    return card;
  }

  #tile(i) {
    const row = this.rows[i];
    const tile = document.createElement("div");
    tile.className = "tile";
    tile.role = "option";
    tile.id = `tile-${row.sha256}`;
    tile.dataset.at = i;
    tile.setAttribute("aria-setsize", this.rows.length);
    tile.setAttribute("aria-posinset", i + 1);
    tile.style.transform = `translate(${this.places[i].x}px,${this.places[i].y}px)`;
    const image = document.createElement("img");
    image.alt = "";
    image.draggable = false;
    image.decoding = "async";
    image.classList.toggle("tiny", Math.max(row.width, row.height) < 96);
    image.addEventListener("error", () => tile.classList.add("broken"), { once: true });
    image.src = `/thumbnails/${row.sha256}`;
    tile.append(image);
    this.#mark(tile, i);
    return tile;
  }

  #mark(tile, i) {
    const row = this.rows[i];
    tile.classList.toggle("focus", i === this.focus);
    tile.setAttribute("aria-selected", this.selected.has(row.sha256));
    this.#paint(tile, row);
    if (i === this.focus) this.#box.setAttribute("aria-activedescendant", tile.id);
  }

  /** Update the tiles in the document. */
  refresh() {
    for (const [i, tile] of this.#tiles) this.#mark(tile, i);
  }

  // --- focus and selection -----------------------------------------------------------------------

  get focused() {
    return this.rows[this.focus];
  }

  /** Rows to decide on, in order: the selection, or else the focused image. */
  get chosen() {
    const chosen = this.rows.filter((row) => this.selected.has(row.sha256));
    return chosen.length || !this.focused ? chosen : [this.focused];
  }

  moveTo(i, extend = false) {
    if (!this.rows.length) return;
    const to = Math.max(0, Math.min(this.rows.length - 1, i));
    if (extend) this.selectRange(this.focus, to);
    this.focus = to;
    this.reveal();
    this.refresh();
  }

  selectRange(from, to) {
    for (let i = Math.min(from, to); i <= Math.max(from, to); i++)
      this.selected.add(this.rows[i].sha256);
  }

  /** The position that an arrow key leads to. */
  neighbour(key) {
    const here = this.places[this.focus];
    if (key === "ArrowLeft") return this.focus - 1;
    if (key === "ArrowRight") return this.focus + 1;
    if (key === "Home") return 0;
    if (key === "End") return this.rows.length - 1;
    if (!here) return 0;
    const screen = this.#box.clientHeight - this.side;
    const least = { ArrowUp: 1, ArrowDown: 1, PageUp: screen, PageDown: screen }[key];
    const down = key.endsWith("Down");
    // The nearest line at least that far away, and in it the nearest tile.
    let [best, nearest] = [Infinity, this.focus];
    this.places.forEach(({ x, y }, i) => {
      const away = down ? y - here.y : here.y - y;
      const cost = away * 1e5 + Math.abs(x - here.x);
      if (away >= least && cost < best) [best, nearest] = [cost, i];
    });
    if (nearest === this.focus && key.startsWith("Page")) return down ? this.rows.length - 1 : 0;
    return nearest;
  }

  reveal() {
    const place = this.places[this.focus];
    if (!place) return;
    const head = this.#groups ? HEAD : 0;
    const { scrollTop, clientHeight } = this.#box;
    const [top, bottom] = [place.y - PAD - head, place.y + this.side + PAD];
    if (top < scrollTop) this.#box.scrollTop = top;
    else if (bottom > scrollTop + clientHeight) this.#box.scrollTop = bottom - clientHeight;
    this.#draw();
  }

  /** Positions of the tiles that a rectangle of the sheet touches. */
  within(left, top, right, bottom) {
    const { side } = this;
    const touches = ({ x, y }) => x < right && x + side > left && y < bottom && y + side > top;
    return this.places.flatMap((place, i) => (touches(place) ? [i] : []));
  }
}

/** Index of the first rectangle near the screen, or the length. */
function firstNear(all, near) {
  const first = all.findIndex(near);
  return first < 0 ? all.length : first;
}
