// What is known: the pictures, the decisions, and what is not saved yet.
//
// The file on the server's side is the memory. A decision shows at once, waits in `pending` until it
// is on the disk, and survives a reload of the page. Questions to the server run one after another,
// so that an old answer never overwrites a new one.

const POLL = 1500; // ms
const MAX_REASON = 500; // as the server has it
const RETRY = [500, 1000, 2000, 4000]; // ms; then always the last

const same = (a, b) => (a?.[0] ?? null) === (b?.[0] ?? null) && (a?.[1] ?? "") === (b?.[1] ?? "");

export class Store extends EventTarget {
  rows = [];
  byHash = new Map();
  groups = new Map(); // cluster -> rows, the keeper first
  about = null; // what came with the rows: list, list_in_use, project, flags, revision
  state = "saved"; // saved | saving | offline | refused
  problem = "";

  #base = new Map(); // what the file says, as far as known
  #sending = new Map(); // on their way
  #pending = new Map(); // not sent yet
  #revision = null;
  #undo = [];
  #redo = [];
  #chain = Promise.resolve();
  #flushing = false;
  #failures = 0;

  // --- reading ---------------------------------------------------------------------------------

  /** Decision and reason of a picture, or undefined. */
  decision(sha) {
    const mine = this.#pending.get(sha) ?? this.#sending.get(sha);
    return mine === undefined ? this.#base.get(sha) : mine[0] === null ? undefined : mine;
  }

  /** keep, drop (by hand), rule (dropped by one), open (undecided). */
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
      if (this.state !== "saved" && !this.unsaved) this.#say("saved");
    } catch (error) {
      this.#say(error.status ? "refused" : "offline", error.message);
    }
  }

  /** Take over what the server says, and tell what others have changed. */
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

  /** Decide on pictures: `word` is keep, drop or null (clear). Returns how many changed. */
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

  /** Take the last step back; what another window has changed since stays. Returns the hashes. */
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
      if (this.state === "saved") this.#say("saving");
      await this.#enqueue(() => this.#send());
      if (this.#failures) {
        const wait = RETRY[Math.min(this.#failures, RETRY.length) - 1];
        await new Promise((done) => setTimeout(done, wait));
      }
    }
    this.#flushing = false;
    if (!this.unsaved) this.#say("saved");
  }

  async #send() {
    const batch = this.#pending;
    this.#pending = new Map();
    this.#sending = batch;
    const changes = [...batch].map(([sha256, [decision, reason]]) => ({
      sha256,
      decision,
      reason: reason.slice(0, MAX_REASON), // one written by hand may be longer
    }));
    try {
      const answer = await ask("/api/decisions", { revision: this.#revision ?? "none", changes });
      this.#sending = new Map();
      if (!answer.decisions)
        for (const [sha, [word, reason]] of batch)
          word === null ? this.#base.delete(sha) : this.#base.set(sha, [word, reason]);
      this.#learn(answer, batch);
      this.#failures = 0;
      if (this.#pending.size) this.#say("saving");
    } catch (error) {
      this.#sending = new Map();
      this.#pending = new Map([...batch, ...this.#pending]); // newer ones win
      this.#failures += 1;
      if (error.status === 400) await this.#forgetStrangers();
      this.#say(error.status ? "refused" : "offline", error.message);
    }
    this.#remember();
  }

  /** The pipeline may have run meanwhile: a picture that is gone needs no decision. */
  async #forgetStrangers() {
    try {
      await this.#loadCollection();
      for (const sha of [...this.#pending.keys()])
        if (!this.byHash.has(sha)) this.#pending.delete(sha);
    } catch {
      // Said by the next attempt.
    }
  }

  #say(state, problem = "") {
    this.state = state;
    this.problem = problem;
    this.dispatchEvent(new Event("state"));
  }

  // This window's own: another window's unsaved decisions are its own business.
  get #place() {
    return `ganloom.unsaved.${this.about.project}.${this.about.list}`;
  }

  // It serves a reload alone: what the browser has no room for is decided and sent all the same.
  #remember() {
    const unsaved = [...this.#sending, ...this.#pending];
    try {
      sessionStorage.removeItem(this.#place); // first: where the new one fails, no old one is left
      if (unsaved.length) sessionStorage.setItem(this.#place, JSON.stringify(unsaved));
    } catch {
      // Then a reload asks whether to leave, and forgets them.
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

/** A question to the server; an error has its words, and a `status` if the server answered. */
export async function ask(address, body) {
  const options = body && {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  };
  const answer = await fetch(address, options);
  const known = await answer.json().catch(() => ({ problem: `${answer.status}` }));
  if (!answer.ok) throw Object.assign(new Error(known.problem), { status: answer.status });
  return known;
}
