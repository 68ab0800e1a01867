// The page: what is chosen and where it is, from controls and keys to the stage and back.

const contents = JSON.parse(document.getElementById("contents").textContent);
const byId = (id) => document.getElementById(id);
const hidden = new Set(contents.classes.flatMap((one, i) => (one.hidden ? [i] : [])));
const stage = new Stage(contents, hidden);
const video = stage.video;
let times = null; // seconds of each frame, from the start of the video
let numbers = null; // of each frame in the video that was segmented
let flickers = [];
let wanted = null; // frame to go to once the video has arrived at another
let sought = null; // frame that was gone to last, until the video plays

const timeline = new Timeline(contents, { seek, toggle, timeOf });
byId("scrub").max = contents.frames - 1;

/** "1:02.345" of a frame. */
function timeOf(place, digits = 3) {
  if (!times) return "";
  const seconds = times[place];
  const minutes = Math.floor(seconds / 60);
  const rest = (seconds - 60 * minutes).toFixed(digits).padStart(3 + digits, "0");
  return `${minutes}:${rest}`;
}

/** The number of a frame in the video; of a part of one also its place among those here. */
function frameOf(place) {
  const last = contents.frames - 1;
  if (!numbers || numbers[place] === place) return `frame ${place} of ${numbers?.[last] ?? last}`;
  return `frame ${numbers[place]}, ${place + 1} of ${contents.frames} here`;
}

/** The frame that is shown at a time: the last one that has begun. `slack` forgives rounding. */
function placeAt(seconds, slack = 1e-6) {
  let [low, high] = [0, contents.frames - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (times[middle] <= seconds + slack) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** A time inside of a frame: at its very border players may show the one before. */
function insideOf(place) {
  const next = times[place + 1] ?? 2 * times[place] - (times[place - 1] ?? times[place] - 0.02);
  return (times[place] + next) / 2;
}

function seek(place) {
  place = Math.min(contents.frames - 1, Math.max(0, place));
  if (!times) return;
  stage.show(place);
  sought = place;
  if (video.seeking) wanted = place; // go on from there: to go at once would never arrive
  else video.currentTime = insideOf(place);
}

function step(by) {
  video.pause();
  seek(stage.place + by);
}

function toggle(one, shown) {
  if (shown) hidden.delete(one);
  else hidden.add(one);
  stage.recolour();
}

function showAll(shown) {
  timeline.rows.forEach(({ box }, one) => {
    box.checked = shown;
    if (shown) hidden.delete(one);
    else hidden.add(one);
  });
  stage.recolour();
}

/** Everything that shows the place in the video. */
stage.onShow = (place) => {
  byId("scrub").value = place;
  byId("scrub").setAttribute("aria-valuetext", `${frameOf(place)}, ${timeOf(place)}`);
  byId("time").textContent = timeOf(place);
  byId("frame").textContent = frameOf(place);
  document.body.style.setProperty("--at", (place + 0.5) / contents.frames);
  const shares = stage.shares();
  timeline.rows.forEach(({ row, share }, one) => {
    const words = shares.map((each) => (each[one] ? percentOf(each[one]) : "–")).join(" · ");
    if (share.textContent !== words) share.textContent = words;
    row.classList.toggle("absent", shares.every((each) => !each[one]));
  });
  document.querySelectorAll(".meter").forEach((element, i) => {
    const value = flickers[i]?.[place] ?? -1;
    element.querySelector("meter").value = Math.max(0, value) / contents.flickerUnit;
    element.querySelector("output").textContent = value < 0 ? "–" : percentOf(value / contents.flickerUnit);
  });
};

/** Follows the video, frame by frame where the browser reports each. */
function follow() {
  if (video.requestVideoFrameCallback) {
    const shown = (now, { mediaTime }) => {
      if (sought === null) stage.show(placeAt(mediaTime, Math.max(1e-6, contents.unit / 2)));
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
  } else {
    const look = () => {
      const place = placeAt(video.currentTime);
      if (sought === null && place !== stage.place) stage.show(place);
      requestAnimationFrame(look);
    };
    look();
  }
  video.addEventListener("playing", () => (sought = null));
  video.addEventListener("seeked", () => {
    const place = wanted;
    wanted = null;
    if (place !== null) seek(place);
    else if (!video.paused) sought = null; // a video that plays on fires no second event
  });
}

function listen() {
  const press = (id, action) => byId(id).addEventListener("click", action);
  press("play", () => (video.paused ? video.play() : video.pause()));
  press("start", () => step(-stage.place));
  press("end", () => step(contents.frames));
  press("back", () => step(-1));
  press("on", () => step(1));
  press("all", () => showAll(true));
  press("none", () => showAll(false));
  for (const name of ["play", "pause"]) {
    video.addEventListener(name, () => {
      byId("play").classList.toggle("playing", !video.paused);
      byId("play").setAttribute("aria-label", video.paused ? "Play" : "Stop");
    });
  }
  byId("scrub").addEventListener("input", (event) => seek(Number(event.target.value)));
  byId("speed").addEventListener("change", (event) => (video.playbackRate = Number(event.target.value)));
  byId("opacity").addEventListener("input", dress);
  byId("overlay").addEventListener("change", dress);
  byId("whose")?.addEventListener("change", () => timeline.describeJumps());
  for (const name of ["borders", "differences"]) {
    byId(name)?.addEventListener("change", (event) => {
      stage[name] = event.target.checked;
      stage.draw();
    });
  }
}

/** Opacity and visibility of the overlay. */
function dress() {
  const opacity = byId("overlay").checked ? byId("opacity").value / 100 : 0;
  for (const { canvas } of stage.layers) canvas.style.opacity = opacity;
}

function listenToKeys() {
  const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -contents.frames, End: contents.frames };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const own = event.target.closest("input, select, button, [role=slider]");
    const isScrub = own === byId("scrub");
    if (event.key === " " && !(own && own.matches("input[type=checkbox], select, button"))) {
      byId("play").click();
    } else if (event.key in moves && (!own || isScrub || own.matches("button, input[type=checkbox]"))) {
      step(moves[event.key] * (event.shiftKey ? 10 : 1));
    } else if (event.key.toLowerCase() === "o" && !own?.matches("select")) {
      byId("overlay").click();
    } else {
      return;
    }
    event.preventDefault();
  });
}

/** Names what is under the pointer. */
function listenToPointer() {
  const tip = byId("tip");
  const name = (event) => {
    const found = stage.under(event.clientX, event.clientY);
    const box = stage.box.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const isLeft = x / box.width < stage.split;
    const seen = !found ? [] : found.length === 2 ? [found[isLeft ? 0 : 1]] : found;
    tip.hidden = !seen.length || !byId("overlay").checked;
    if (tip.hidden) return;
    const [one] = seen;
    const swatch = make("i", { className: "swatch" });
    swatch.style.background = one?.class.colour ?? "none";
    const words = one ? `${one.class.name}${one.object ? ` ${one.object}` : ""}` : "no class";
    tip.replaceChildren(swatch, make("bdi", {}, words));
    tip.style.left = `${Math.min(x + 14, Math.max(0, box.width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${y > box.height - 60 ? y - 40 : y + 18}px`;
  };
  stage.box.addEventListener("pointermove", name);
  stage.box.addEventListener("pointerdown", name);
  stage.box.addEventListener("pointerleave", () => (tip.hidden = true));
  video.addEventListener("click", () => byId("play").click());
}

function listenToWipe() {
  const wipe = byId("wipe");
  if (!wipe) return;
  const move = (split) => {
    stage.wipe(split);
    wipe.setAttribute("aria-valuenow", Math.round(100 * stage.split));
  };
  const steps = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 };
  wipe.addEventListener("pointerdown", (event) => wipe.setPointerCapture(event.pointerId));
  wipe.addEventListener("pointermove", (event) => {
    if (!(event.buttons & 1)) return;
    const box = stage.box.getBoundingClientRect();
    move((event.clientX - box.left) / box.width);
  });
  wipe.addEventListener("keydown", (event) => {
    if (!(event.key in steps)) return;
    move(stage.split + steps[event.key]);
    event.preventDefault();
  });
  move(0.5);
}

/** Opens what the page needs at once; the blocks follow this program, and come one by one. */
async function open() {
  times = (await sumsOf("times")).map((ticks) => ticks * contents.unit);
  numbers = await sumsOf("numbers");
  flickers = await Promise.all(contents.sides.map((_, i) => columnOf(`flicker-${i}`)));
  timeline.drawFlicker(flickers);
  timeline.drawTicks();
  timeline.describeJumps();
  stage.show(0);
  follow();
  if (!contents.link) video.src = await videoAddress();
}

listen();
listenToKeys();
listenToPointer();
listenToWipe();
dress();
open();
