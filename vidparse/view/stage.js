// The stage: the video, and the classes of the frame that is shown drawn over it.

class Stage {
  /**
   * @param {object} contents see _record in vidparse/view/contents.py
   * @param {Set<number>} hidden classes that are not drawn
   */
  constructor(contents, hidden) {
    this.contents = contents;
    this.hidden = hidden;
    this.video = document.getElementById("video");
    this.box = document.getElementById("stage");
    this.place = 0; // of the frame that is shown
    this.split = 0.5; // of the width, where the right model begins
    this.borders = this.differences = false;
    this.onShow = () => {};
    const [width, height] = contents.size;
    this.layers = [...document.querySelectorAll("canvas.ids")].map((canvas, i) => {
      canvas.width = width;
      canvas.height = height;
      const context = canvas.getContext("2d");
      const image = context.createImageData(width, height);
      return {
        canvas,
        context,
        image,
        pixels: new Uint32Array(image.data.buffer),
        map: new Uint16Array(width * height), // codes of the frame that is drawn
        maps: new Maps(`ids-${i}`, contents.chunk),
        side: contents.sides[i],
        classes: Uint16Array.from([0, ...contents.sides[i].codes.map(([one]) => one + 1)]),
        drawn: -1,
      };
    });
    this.recolour();
  }

  /** Colours by code, as pixels of a canvas; classes that are hidden are clear. */
  recolour() {
    for (const layer of this.layers) {
      const colours = layer.side.codes.map(([one, , own]) =>
        this.hidden.has(one) ? 0 : pixelOf(own ?? this.contents.classes[one].colour),
      );
      layer.colours = Uint32Array.from([0, ...colours]);
    }
    this.draw();
  }

  /** Shows the ids of a frame: at once where its block is open, else as soon as it is. */
  show(place) {
    this.place = place;
    this.draw();
    for (const layer of this.layers) {
      layer.maps.load(place).then(() => {
        if (this.place === place && layer.drawn !== place) this.draw();
        const next = place + this.contents.chunk;
        if (this.place === place && next < this.contents.frames) layer.maps.load(next);
      });
    }
  }

  draw() {
    const found = this.layers.map((layer) => layer.maps.at(this.place));
    if (found.some((runs) => !runs)) return;
    this.layers.forEach((layer, i) => expand(found[i], layer.map));
    this.layers.forEach((layer, i) => {
      this.paint(layer, this.layers[1 - i]);
      layer.context.putImageData(layer.image, 0, 0);
      layer.drawn = this.place;
    });
    this.onShow(this.place);
  }

  paint(layer, other) {
    const { map, pixels, colours, classes } = layer;
    for (let i = 0; i < map.length; i++) pixels[i] = colours[map[i]];
    if (this.borders) this.border(layer);
    if (!this.differences || !other) return;
    for (let i = 0; i < map.length; i++) {
      if (classes[map[i]] === other.classes[other.map[i]]) pixels[i] = 0;
    }
  }

  /** Darkens pixels whose right or lower neighbour is of another region. */
  border({ map, pixels, colours }) {
    const width = this.contents.size[0];
    for (let i = 0; i < map.length; i++) {
      const right = (i + 1) % width ? map[i + 1] : map[i];
      const below = i + width < map.length ? map[i + width] : map[i];
      if (map[i] === right && map[i] === below) continue;
      if (colours[map[i]] || colours[right] || colours[below]) pixels[i] = 0xff101010;
    }
  }

  /** Share of the picture of each class in the frame, one array per model. */
  shares() {
    return this.layers.map(({ map, classes }) => {
      const counts = new Float64Array(this.contents.classes.length + 1);
      for (let i = 0; i < map.length; i++) counts[classes[map[i]]]++;
      return counts.subarray(1).map((count) => count / map.length);
    });
  }

  /** What lies at a point of the page: for each model its class and object, or null for nothing. */
  under(x, y) {
    const box = this.box.getBoundingClientRect();
    const [width, height] = this.contents.size;
    const column = Math.floor(((x - box.left) / box.width) * width);
    const row = Math.floor(((y - box.top) / box.height) * height);
    if (column < 0 || row < 0 || column >= width || row >= height) return null;
    return this.layers.map(({ map, side }) => {
      const code = map[row * width + column];
      if (!code) return null;
      const [one, object] = side.codes[code - 1];
      return { class: this.contents.classes[one], object };
    });
  }

  /** Moves the border between two models: 0 shows the right one alone, 1 the left one. */
  wipe(split) {
    this.split = Math.min(1, Math.max(0, split));
    const share = 100 * this.split;
    this.box.style.setProperty("--split", `${share}%`);
    this.layers[0].canvas.style.clipPath = `inset(0 ${100 - share}% 0 0)`;
    this.layers[1].canvas.style.clipPath = `inset(0 0 0 ${share}%)`;
  }
}

/** Writes the runs of a frame into a map of codes. */
function expand({ codes, lengths }, map) {
  let start = 0;
  for (let i = 0; i < codes.length; i++) {
    map.fill(codes[i], start, start + lengths[i]);
    start += lengths[i];
  }
}

/** "#rrggbb" as a pixel of a canvas: red is the lowest byte. */
function pixelOf(colour) {
  const number = parseInt(colour.slice(1), 16);
  const [red, green, blue] = [number >> 16, (number >> 8) & 255, number & 255];
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}
