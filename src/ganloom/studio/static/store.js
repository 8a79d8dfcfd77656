// State of the page: images, decisions, and decisions that are not saved yet.
//
// The file on the server is authoritative. A decision shows at once, waits in `pending` until it is
// on disk, and survives a reload of the page. Requests run one after another, so that an old
// response never overwrites a new one.

const POLL = 1500; // ms
const MAX_REASON = 500; // limit of the server
const RETRY = [500, 1000, 2000, 4000]; // ms; the last value repeats

const same = (a, b) => (a?.[0] ?? null) === (b?.[0] ?? null) && (a?.[1] ?? "") === (b?.[1] ?? "");

export class Store extends EventTarget {
  rows = [];
  byHash = new Map();
  groups = new Map(); // cluster -> rows, the keeper first
  about = null; // sent with the rows: list, list_in_use, project, flags, revision
  state = "saved"; // saved | saving | offline | refused
  problem = "";

  #base = new Map(); // last known content of the file
  #sending = new Map(); // sent, not confirmed
  #pending = new Map(); // not sent yet
  #revision = null;
  #undo = [];
  #redo = [];
  #chain = Promise.resolve();
  #flushing = false;
  #failures = 0;

  // --- reading ---------------------------------------------------------------------------------

  /** Decision and reason of an image, or undefined. */
  decision(sha) {
    const mine = this.#pending.get(sha) ?? this.#sending.get(sha);
    return mine === undefined ? this.#base.get(sha) : mine[0] === null ? undefined : mine;
  }

  /** keep, drop (both manual), rule (dropped by a rule) or open (undecided). */
  status(row) {
    const decision = this.decision(row.sha256);
    return decision ? decision[0] : row.rule ? "rule" : "open";
  }

  get unsaved() {
    return new Set([...this.#pending.keys(), ...this.#sending.keys()]).size;
  }

  async start() {
    await this.#loadCollection();
    for (const [sha, change] of this.#remembered()) this.#pending.set(sha, change);
    await this.#poll();
    this.#flush();
    const again = async () => {
      await this.#enqueue(() => this.#poll());
      setTimeout(again, POLL);
    };
    setTimeout(again, POLL);
  }

  async #loadCollection() {
    const answer = await ask("/api/collection");
    const { columns, rows, ...about } = answer;
    this.about = about;
    this.rows = rows.map((values) => Object.fromEntries(values.map((v, i) => [columns[i], v])));
    this.byHash = new Map(this.rows.map((row) => [row.sha256, row]));
    const groups = new Map();
    for (const row of this.rows) {
      if (!groups.has(row.cluster)) groups.set(row.cluster, []);
      groups.get(row.cluster).push(row);
    }
    for (const members of groups.values())
      members.sort((a, b) => b.keeper - a.keeper || (a.distance ?? 0) - (b.distance ?? 0));
    this.groups = groups;
    this.dispatchEvent(new Event("collection"));
  }

  async #poll() {
    try {
      const answer = await ask(`/api/decisions?revision=${this.#revision ?? "none"}`);
      this.#learn(answer);
      if (answer.collection !== this.about.revision) await this.#loadCollection();
      if (this.state !== "saved" && !this.unsaved) this.#setState("saved");
    } catch (error) {
      this.#setState(error.status ? "refused" : "offline", error.message);
    }
  }

  /** Apply a response, and report changes from other windows or programs. */
  #learn(answer, mine = new Map()) {
    if (answer.decisions) {
      const first = this.#revision === null;
      const before = this.#base;
      this.#base = new Map(Object.entries(answer.decisions));
      const touched = [...new Set([...before.keys(), ...this.#base.keys()])];
      const foreign = touched.filter(
        (sha) => !mine.has(sha) && !same(before.get(sha), this.#base.get(sha)),
      );
      this.#revision = answer.revision;
      this.#changed(foreign, first ? 0 : foreign.length);
    }
    this.#revision = answer.revision;
  }

  #changed(shas, foreign = 0) {
    if (shas.length) this.dispatchEvent(new CustomEvent("decisions", { detail: { shas, foreign } }));
  }

  // --- deciding --------------------------------------------------------------------------------

  /** Decide on images: `word` is keep, drop or null (clear). Returns the number of changes. */
  decide(shas, word, reason = "") {
    const after = word === null ? undefined : [word, reason];
    const items = shas
      .map((sha) => ({ sha, before: this.decision(sha), after }))
      .filter(({ before }) => !same(before, after));
    if (items.length) {
      this.#undo.push(items);
      this.#redo = [];
      this.#apply(items, "after");
    }
    return items.length;
  }

  /** Undo the last step, except where others have changed it since. Returns the hashes. */
  undo() {
    return this.#step(this.#undo, this.#redo, "after", "before");
  }

  redo() {
    return this.#step(this.#redo, this.#undo, "before", "after");
  }

  #step(from, to, was, becomes) {
    const items = from.pop();
    if (!items) return null;
    const ours = items.filter((item) => same(this.decision(item.sha), item[was]));
    if (ours.length) to.push(ours);
    this.#apply(ours, becomes);
    return ours.map((item) => item.sha);
  }

  #apply(items, side) {
    for (const item of items) this.#pending.set(item.sha, item[side] ?? [null, ""]);
    this.#remember();
    this.#changed(items.map((item) => item.sha));
    this.#flush();
  }

  // --- saving ----------------------------------------------------------------------------------

  #enqueue(work) {
    this.#chain = this.#chain.then(work, work);
    return this.#chain;
  }

  async #flush() {
    if (this.#flushing) return;
    this.#flushing = true;
    while (this.#pending.size) {
      if (this.state === "saved") this.#setState("saving");
      await this.#enqueue(() => this.#send());
      if (this.#failures) {
        const wait = RETRY[Math.min(this.#failures, RETRY.length) - 1];
        await new Promise((done) => setTimeout(done, wait));
      }
    }
    this.#flushing = false;
    if (!this.unsaved) this.#setState("saved");
  }

  async #send() {
    const batch = this.#pending;
    this.#pending = new Map();
    this.#sending = batch;
    const changes = [...batch].map(([sha256, [decision, reason]]) => ({
      sha256,
      decision,
      reason: reason.slice(0, MAX_REASON), // a reason from a text editor may be longer
    }));
    try {
      const answer = await ask("/api/decisions", { revision: this.#revision ?? "none", changes });
      this.#sending = new Map();
      if (!answer.decisions)
        for (const [sha, [word, reason]] of batch)
          word === null ? this.#base.delete(sha) : this.#base.set(sha, [word, reason]);
      this.#learn(answer, batch);
      this.#failures = 0;
      if (this.#pending.size) this.#setState("saving");
    } catch (error) {
      this.#sending = new Map();
      this.#pending = new Map([...batch, ...this.#pending]); // newer ones win
      this.#failures += 1;
      if (error.status === 400) await this.#forgetUnknown();
      this.#setState(error.status ? "refused" : "offline", error.message);
    }
    this.#remember();
  }

  /** Drop decisions on images that the pipeline has removed meanwhile. */
  async #forgetUnknown() {
    try {
      await this.#loadCollection();
      for (const sha of [...this.#pending.keys()])
        if (!this.byHash.has(sha)) this.#pending.delete(sha);
    } catch {
      // The next attempt reports the error.
    }
  }

  #setState(state, problem = "") {
    this.state = state;
    this.problem = problem;
    this.dispatchEvent(new Event("state"));
  }

  // sessionStorage is per window, so that windows do not mix their unsaved decisions.
  get #place() {
    return `ganloom.unsaved.${this.about.project}.${this.about.list}`;
  }

  // Only needed for a reload: decisions are sent even if the browser has no room to store them.
  #remember() {
    const unsaved = [...this.#sending, ...this.#pending];
    try {
      sessionStorage.removeItem(this.#place); // first, so that a failed write leaves nothing outdated
      if (unsaved.length) sessionStorage.setItem(this.#place, JSON.stringify(unsaved));
    } catch {
      // A reload then asks whether to leave, and loses them.
    }
  }

  #remembered() {
    try {
      const unsaved = JSON.parse(sessionStorage.getItem(this.#place) ?? "[]");
      return unsaved.filter(([sha]) => this.byHash.has(sha));
    } catch {
      return [];
    }
  }
}

/** Send a request. Errors have the server's message, and a `status` if it answered. */
export async function ask(address, body) {
  const options = body && {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  };
  const answer = await fetch(address, options);
  const content = await answer.json().catch(() => ({ problem: `${answer.status}` }));
  if (!answer.ok) throw Object.assign(new Error(content.problem), { status: answer.status });
  return content;
}
