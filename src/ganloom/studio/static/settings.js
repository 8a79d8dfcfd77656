// Settings in localStorage. Without storage, or with a damaged value, pages use their defaults, and
// settings last until the page is closed.

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
    // Storage is blocked or full.
  }
}
