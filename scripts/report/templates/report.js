"use strict";
// What only the reader's machine knows: the local time.
const local = new Intl.DateTimeFormat(undefined, {
  dateStyle: "medium", timeStyle: "long",
});
for (const time of document.querySelectorAll("time[data-local]")) {
  const here = document.createElement("span");
  here.className = "quiet";
  here.textContent = " · your time: " + local.format(new Date(time.dateTime));
  time.after(here);
}
// The player and the timeline show the same instant.
const video = document.querySelector("video");
const playhead = document.querySelector(".playhead");
if (video && playhead) {
  const { segments } = JSON.parse(document.getElementById("document").textContent);
  const { start, perUs, from } = playhead.dataset;
  const follow = () => {
    const at = video.currentTime * 1e6;
    const shown = segments.findLast((segment) => segment.inClip.startUs <= at) ?? segments[0];
    const wall = Math.min(shown.startUs + at - shown.inClip.startUs, shown.endUs);
    const x = Number(from) + (wall - Number(start)) * Number(perUs);
    playhead.setAttribute("x1", x);
    playhead.setAttribute("x2", x);
    playhead.style.visibility = "visible";
    requestAnimationFrame(() => video.paused || follow());
  };
  for (const event of ["play", "seeked", "timeupdate"]) video.addEventListener(event, follow);
  for (const button of document.querySelectorAll("button[data-seek]")) {
    button.addEventListener("click", () => { video.currentTime = Number(button.dataset.seek); });
  }
}
