// What a browser remembers of how its pages are set. Where it must not, or what it remembers is
// damaged, a page has what it has of its own, and settings hold for as long as it is open.

const place = (name) => `ganloom.${name}`;

export function remembered(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(place(name))) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(place(name), JSON.stringify(value));
  } catch {
    // Blocked, or full.
  }
}
