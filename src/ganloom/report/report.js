"use strict";
// The page works without scripts: timelines are then scrollable strips, videos have controls, and
// tables are in the order of params.yaml.
for (const timeline of document.querySelectorAll(".timeline")) {
  const frames = [...timeline.querySelectorAll("figure")];
  const control = timeline.querySelector(".control");
  const slider = control.querySelector("input");
  const show = () => {
    frames.forEach((frame, i) => frame.classList.toggle("current", i === slider.valueAsNumber));
    const words = frames[slider.valueAsNumber].dataset.moment;
    control.querySelector("output").textContent = words;
    slider.setAttribute("aria-valuetext", words);
  };
  slider.addEventListener("input", show);
  timeline.classList.add("slides");
  timeline.querySelector(".strip").removeAttribute("tabindex");
  control.hidden = false;
  show();
}
// A click on a column sorts a table of metrics: best first, then worst first.
for (const table of document.querySelectorAll("table.metrics")) {
  const body = table.tBodies[0];
  const models = [...body.querySelectorAll("tr:not(.reference)")];
  const heads = [...table.querySelectorAll("thead th")];
  if (models.length < 2) continue;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const first = head.dataset.better === "lower" ? "ascending" : "descending";
      const turned = head.getAttribute("aria-sort") === first;
      const order = turned ? { ascending: "descending", descending: "ascending" }[first] : first;
      const sign = order === "ascending" ? 1 : -1;
      const value = (row) => Number(row.querySelectorAll("td")[column].dataset.value ?? NaN);
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const measured = models.filter((row) => !Number.isNaN(value(row)));
      const missing = models.filter((row) => Number.isNaN(value(row)));
      measured.sort((a, b) => sign * (value(a) - value(b)));
      body.prepend(...measured, ...missing);
    });
  });
}
if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
  for (const video of document.querySelectorAll("video")) video.pause();
}
