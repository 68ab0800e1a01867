// Blocks: script elements of base64 that follow the program. Each is opened when it is needed.

function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

async function inflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A block, once all of it has come; null where the page has none of that name. */
async function blockOf(name) {
  for (;;) {
    const element = document.getElementById(name);
    if (document.readyState !== "loading" || element?.nextElementSibling) return element;
    await new Promise((next) => setTimeout(next, 15));
  }
}

/** A number per frame: signed 32 bits, deflated. */
async function columnOf(name) {
  const bytes = await inflated(bytesOf((await blockOf(name)).textContent));
  return new Int32Array(bytes.buffer);
}

/** The whole of a column of differences, added up. */
async function sumsOf(name) {
  let sum = 0;
  return Float64Array.from(await columnOf(name), (step) => (sum += step));
}

/** An address of the video that the page holds. Its blocks are let go of on the way. */
async function videoAddress() {
  const parts = [];
  for (let i = 0, block; (block = await blockOf(`video-${i}`)); i++) {
    parts.push(bytesOf(block.textContent));
    block.remove();
    await new Promise((next) => setTimeout(next)); // let the page answer between two of them
  }
  return URL.createObjectURL(new Blob(parts, { type: "video/mp4" }));
}

/** Maps of one model: a few blocks of 64 frames are kept open, the one last used the longest. */
class Maps {
  constructor(name, chunk) {
    this.name = name;
    this.chunk = chunk;
    this.open = new Map(); // number -> promise of frames
    this.ready = new Map(); // number -> frames
  }

  /** Runs of a frame as {codes, lengths}, or null while its block is opened. */
  at(place) {
    const frames = this.ready.get(Math.floor(place / this.chunk));
    return frames ? frames[place % this.chunk] : null;
  }

  /** Opens the block of a frame; a promise. */
  async load(place) {
    const number = Math.floor(place / this.chunk);
    const known = this.open.get(number) ?? this.read(number);
    this.open.delete(number);
    this.open.set(number, known);
    this.ready.set(number, await known);

    // Forget the block that was not used for longest.
    while (this.open.size > 6) {
      const [oldest] = this.open.keys();
      this.open.delete(oldest);
      this.ready.delete(oldest);
    }
  }

  async read(number) {
    const block = await blockOf(`${this.name}-${number}`);
    return block ? framesOf(await inflated(bytesOf(block.textContent))) : [];
  }
}

/** Runs of each frame of a block: see Chunks in vidparse/view/blocks.py. */
function framesOf(bytes) {
  const counts = firstCounts(bytes);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const start = 4 + 4 * counts.length;
  const number = (plane) => {
    const low = bytes.subarray(start + plane * total, start + (plane + 1) * total);
    const high = bytes.subarray(start + (plane + 1) * total, start + (plane + 2) * total);
    return Uint16Array.from(low, (value, i) => value | (high[i] << 8));
  };
  const codes = number(0);
  const lengths = number(2);
  let end = 0;
  return counts.map((count) => {
    const first = end;
    end += count;
    return { codes: codes.subarray(first, end), lengths: lengths.subarray(first, end) };
  });
}

/** Runs in each frame: the first word is the number of frames. */
function firstCounts(bytes) {
  const words = new DataView(bytes.buffer);
  return Array.from({ length: words.getUint32(0, true) }, (_, i) => words.getUint32(4 * i + 4, true));
}
