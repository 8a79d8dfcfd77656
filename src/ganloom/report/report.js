"use strict";
// The page reads without this: a timeline is then a strip to scroll, and videos have controls.
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
if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
  for (const video of document.querySelectorAll("video")) video.pause();
}
