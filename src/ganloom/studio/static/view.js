// Filters and sort orders of the images, without access to the document.

const natural = new Intl.Collator("en", { numeric: true });

/** Kind of a rule's reason, without details of the image. */
export function kind(rule) {
  return rule.startsWith("near-duplicate") ? "near-duplicate" : rule.split(":", 1)[0];
}

/** Lower-case text to search in. */
export function words(row) {
  const fields = [row.title, row.creator, row.label, row.query, row.id, row.licence, row.rule];
  return [...fields, row.url, row.page, row.sha256].join("\n").toLowerCase();
}

/** The rows that match the filters, unsorted. */
export function filtered(store, filters) {
  const needles = filters.search.toLowerCase().split(/\s+/).filter(Boolean);
  return store.rows.filter((row) => {
    if (filters.status && store.status(row) !== filters.status) return false;
    if (filters.source && row.source !== filters.source) return false;
    if (filters.label !== null && row.label !== filters.label) return false;
    if (filters.rule && kind(row.rule) !== filters.rule) return false;
    if (!needles.length) return true;
    const text = words(row) + "\n" + (store.decision(row.sha256)?.[1] ?? "").toLowerCase();
    return needles.every((needle) => text.includes(needle));
  });
}

/** Sort orders: name, title, default direction, key, and text of the value. */
export function orders(flags) {
  const flag = (name) => ({
    name: `flag ${name}`,
    title: name.replaceAll("_", " "),
    key: (row) => (row[name] === null ? NaN : Number(row[name])),
    shown: (row) => number(row[name]),
    // Doubtful images have low sharpness or contrast, but large distances and true flags.
    down: /distance|off_topic|text|watermark|odd|blur|small|blank/.test(name),
  });
  return [
    { name: "found", title: "as fetched", key: (row) => row.id },
    { name: "source", title: "source", key: (row) => row.source },
    { name: "group", title: "group" },
    { name: "title", title: "title", key: (row) => row.title || row.id },
    {
      name: "size",
      title: "size",
      key: (row) => row.width * row.height,
      shown: (row) => `${row.width}×${row.height}`,
    },
    ...flags.map(flag),
  ];
}

/** Sort rows; rows without a value come last in both directions. */
export function sorted(rows, order, down, store) {
  const turn = down ? -1 : 1;
  const decorated = rows.map((row) => [order.key?.(row), row]);
  const byId = (a, b) => natural.compare(a.id, b.id);
  if (order.name === "group") {
    const size = (row) => store.groups.get(row.cluster).length;
    const place = (row) => store.groups.get(row.cluster).indexOf(row);
    return [...rows].sort(
      (a, b) =>
        turn * (size(b) - size(a)) ||
        turn * natural.compare(a.cluster, b.cluster) ||
        place(a) - place(b),
    );
  }
  const compare = ([a, rowA], [b, rowB]) => {
    if (typeof a === "string") return turn * natural.compare(a, b) || byId(rowA, rowB);
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
    return turn * (a - b) || byId(rowA, rowB);
  };
  return decorated.sort(compare).map(([, row]) => row);
}

export function number(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  return Number.isInteger(value) ? `${value}` : `${Number(value.toPrecision(3))}`;
}
