// Timelines: a lane per class, a bar per object, a line of flicker. A click in a lane goes there.

const SVG = "http://www.w3.org/2000/svg";
const FEW = 12; // objects that are listed at first

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** An SVG of paths, [data, colour or CSS class] each, that stretches over its lane. */
function drawing(width, paths) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} 2`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  for (const [data, look] of paths) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", data);
    if (look.startsWith("#")) path.style.fill = look;
    else path.setAttribute("class", look);
    svg.append(path);
  }
  return svg;
}

class Timeline {
  /**
   * @param {object} contents see _record in vidparse/view/contents.py
   * @param {object} act what happens: seek(place), toggle(class, shown), timeOf(place)
   */
  constructor(contents, act) {
    this.contents = contents;
    this.act = act;
    this.rows = this.classRows();
    this.listTracks(FEW);
  }

  get two() {
    return this.contents.sides.length === 2;
  }

  /** A lane that goes to the frame under a pointer that is pressed, and follows it. */
  lane(...children) {
    const lane = make("div", { className: "lane" }, ...children);
    const go = (event) => {
      const box = lane.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      const last = this.contents.frames - 1;
      this.act.seek(Math.min(last, Math.floor(share * this.contents.frames)));
    };
    lane.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      lane.setPointerCapture(event.pointerId);
      go(event);
    });
    lane.addEventListener("pointermove", (event) => event.buttons & 1 && go(event));
    return lane;
  }

  classRows() {
    const list = document.querySelector("#classes .rows");
    return this.contents.classes.map(({ name, colour, hidden }, one) => {
      const box = make("input", { type: "checkbox", checked: !hidden });
      const swatch = make("i", { className: "swatch" });
      swatch.style.background = colour;
      box.addEventListener("change", () => this.act.toggle(one, box.checked));
      const label = make("label", { className: "class" }, box, swatch, make("bdi", {}, name));
      const share = make("output", { className: "value" });
      const jumps = ["First", "Longest", "Most"].map((words, i) => {
        const button = make("button", { type: "button" }, words);
        button.addEventListener("click", () => this.jump(one, i));
        return button;
      });
      const buttons = make("span", { className: "buttons" }, ...jumps);
      const row = make("li", { className: "row" }, label, this.lane(this.areas(one)), share, buttons);
      list.append(row);
      return { row, box, share, jumps };
    });
  }

  /** The areas of a class: those of the right model hang below the line. */
  areas(one) {
    const sides = this.contents.sides.map((side) => {
      const packed = side.areas[one];
      return packed ? new Uint16Array(bytesOf(packed).buffer) : new Uint16Array(0);
    });
    const highest = Math.max(1, ...sides.map((values) => values.reduce((a, b) => Math.max(a, b), 0)));
    const { frames, stretch, classes } = this.contents;
    const paths = sides.map((values, i) => {
      const zero = this.two ? 1 : 2;
      const scale = (this.two ? (i ? -0.94 : 0.94) : 1.88) / highest;
      const steps = Array.from(values, (value, at) => {
        const [from, to] = [at * stretch, Math.min((at + 1) * stretch, frames)];
        const y = (zero - value * scale).toFixed(3);
        return `L${from} ${y}L${to} ${y}`;
      });
      return [`M0 ${zero}${steps.join("")}L${frames} ${zero}Z`, classes[one].colour];
    });
    return drawing(frames, paths);
  }

  jump(one, which) {
    const whose = Number(document.getElementById("whose")?.value ?? 0);
    const found = this.contents.sides[whose].jumps[one];
    if (found) this.act.seek([found[0], found[1], found[3]][which]);
  }

  /** Shows where each jump leads, for the model that is chosen. */
  describeJumps() {
    const whose = Number(document.getElementById("whose")?.value ?? 0);
    this.rows.forEach(({ jumps }, one) => {
      const found = this.contents.sides[whose].jumps[one];
      const name = this.contents.classes[one].name;
      jumps.forEach((button, i) => {
        button.disabled = !found;
        if (!found) return;
        const [first, longest, length, most] = found;
        const at = (place) => this.act.timeOf(place);
        const words = [
          `first seen at ${at(first)}`,
          `seen longest, for ${length} ${length === 1 ? "frame" : "frames"}, from ${at(longest)}`,
          `largest at ${at(most)}`,
        ][i];
        button.title = `${name}: ${words}`;
        button.setAttribute("aria-label", `${button.textContent} of ${name}: ${words}`);
      });
    });
  }

  listTracks(most) {
    const section = document.getElementById("tracks");
    const all = this.contents.sides.flatMap((side) => side.tracks.map((track) => [side, track]));
    if (!all.length) return;
    section.hidden = false;
    section.querySelector("small").textContent = `${all.length}, longest first`;
    all.sort(([, a], [, b]) => b[4] - a[4]);
    const rows = all.slice(0, most).map(([side, track]) => this.trackRow(side, track));
    section.querySelector(".rows").replaceChildren(...rows);
    const more = document.getElementById("more");
    more.hidden = all.length <= most;
    more.textContent = `Show all ${all.length}`;
    more.onclick = () => this.listTracks(all.length);
  }

  trackRow(side, [id, one, first, last, frames, best]) {
    const { classes } = this.contents;
    const { name, colour } = classes[one];
    const own = side.codes.find(([, object]) => object === id)?.[2] ?? colour;
    const swatch = make("i", { className: "swatch" });
    swatch.style.background = own;
    const count = `${frames} ${frames === 1 ? "frame" : "frames"}`;
    const button = make("button", { type: "button", title: `${name} ${id}: seen best` }, "Best");
    button.setAttribute("aria-label", `Best frame of ${name} ${id}`);
    button.addEventListener("click", () => this.act.seek(best));
    const bar = make("i", { className: "span" });
    bar.style.left = `${(100 * first) / this.contents.frames}%`;
    bar.style.width = `${(100 * (last + 1 - first)) / this.contents.frames}%`;
    bar.style.background = own;
    const whose = this.two ? ` ${side.name}` : "";
    const label = make("span", { className: "class" }, swatch, make("bdi", {}, `${name} ${id}${whose}`));
    const lane = this.lane(bar);
    const cells = [label, lane, make("span", { className: "value" }, count)];
    return make("li", { className: "row" }, ...cells, make("span", { className: "buttons" }, button));
  }

  /** Draws the flicker of every frame; at most 800 columns, the highest of each counts. */
  drawFlicker(columns) {
    const { frames, flickerUnit } = this.contents;
    const count = Math.min(frames, 800);
    const highest = columns.map((values) =>
      Array.from({ length: count }, (_, at) => {
        const part = values.subarray(Math.floor((at * frames) / count), Math.ceil(((at + 1) * frames) / count));
        return part.reduce((a, b) => Math.max(a, b), -1) / flickerUnit; // below 0: unknown
      }),
    );
    const top = Math.max(0.002, ...highest.flat());
    const paths = highest.map((values, i) => {
      const line = values.map((value, at) => {
        if (value < 0) return "";
        const pen = at && values[at - 1] >= 0 ? "L" : "M";
        return `${pen}${at + 0.5} ${(1.96 - (1.9 * value) / top).toFixed(3)}`;
      });
      return [line.join(""), `line s${i}`];
    });
    const row = document.querySelector("#flicker .row");
    const scale = make("p", { className: "scale" }, make("span", {}, percentOf(top)), make("span", {}, "0"));
    row.replaceChildren(scale, this.lane(drawing(count, paths)));
    document.querySelectorAll("#flicker meter").forEach((meter) => (meter.max = top));
  }

  drawTicks() {
    const { frames } = this.contents;
    for (const ticks of document.querySelectorAll(".ticks")) {
      const places = [0, 0.25, 0.5, 0.75, 1].map((share) => Math.min(frames - 1, Math.floor(share * frames)));
      ticks.replaceChildren(...places.map((place) => make("span", {}, this.act.timeOf(place, 1))));
    }
  }
}

function percentOf(share) {
  const percent = 100 * share;
  if (percent > 0 && percent < 0.05) return "< 0.1 %";
  return `${percent.toFixed(percent < 9.95 ? 1 : 0)} %`;
}
