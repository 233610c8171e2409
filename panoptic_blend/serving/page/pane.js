// One model's map over the picture.

import { decodeIds } from "./idmap.js";
import { ask, fromBase64 } from "./server.js";

const MOST_PIXELS = 2e6; // of a canvas; phones refuse very large ones
const LARGEST_SCALE = 3;
const [WHITE, BLACK] = [0xffffffff, 0xff000000]; // as a canvas holds them: alpha, blue, green, red

/** A segment's score, when it is a thing's, and its area. */
function facts(segment) {
  const score = segment.isthing ? `${Math.round(100 * segment.score)}%, ` : "";
  return `${score}${segment.area.toLocaleString("en")} pixels`;
}

/** Shows what one model sees in the picture, and asks again when thresholds change. */
export class Pane {
  /**
   * @param model a row of /models.
   * @param page what panes share: {hidden: Set of names, borders(), thresholds(), say(text, wrong), changed(),
   *   explain(pane, segment)}.
   */
  constructor(model, page) {
    this.model = model;
    this.page = page;
    this.root = document.getElementById("pane").content.cloneNode(true).firstElementChild;
    this.part = (selector) => this.root.querySelector(selector);
    this.part("h2").textContent = model.name;
    this.canvas = this.part("canvas");
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => this.choose(null));
    this.canvas.addEventListener("click", (event) => this.click(event));
    this.answer = null;
    this.chosen = null;
    this.asking = false;
    this.asked = 0;
  }

  /** Predict a picture: a Blob, shown from `url`. */
  async predict(picture, url) {
    this.picture = picture;
    const image = this.part("img");
    image.onload = () => {
      const { naturalWidth: width, naturalHeight: height } = image; // small ones are enlarged, none beyond the window
      this.part(".stack").style.maxWidth = `min(${LARGEST_SCALE * width}px, ${(74 * width) / height}vh)`;
    };
    image.src = url;
    this.answer = null;
    this.paint();
    this.part(".segments").replaceChildren();
    await this.update("/predict");
  }

  /** Merge again with the thresholds as they are now; only the latest of many wishes is fulfilled. */
  async merge() {
    if (!this.answer) return;
    this.asked++;
    while (!this.asking && this.asked) {
      this.asked = 0;
      await this.update(this.answer.id ? "/merge" : "/predict");
    }
  }

  async update(path) {
    const picture = this.picture;
    this.asking = true;
    this.root.classList.toggle("busy", path === "/predict");
    const wait = (seconds) => this.page.say(`The server is busy; trying again in ${seconds} s.`);
    const started = performance.now();
    try {
      const answer = await this.request(path, wait);
      if (picture !== this.picture) return;
      this.map = await decodeIds(fromBase64(answer.png));
      this.answer = answer;
      this.segments = new Map(answer.segments_info.map((segment) => [segment.id, segment]));
      this.part(".took").textContent = `${((performance.now() - started) / 1000).toFixed(2)} s`;
      this.list();
      this.link();
      this.page.changed();
    } catch (refused) {
      if (picture === this.picture) this.page.say(refused.message, true, refused.status);
    } finally {
      this.asking = false;
      this.root.classList.remove("busy");
    }
  }

  async request(path, wait) {
    const thresholds = this.page.thresholds();
    if (path === "/merge") {
      try {
        return await ask("POST", "/merge", { id: this.answer.id, ...thresholds }, undefined, wait);
      } catch (refused) {
        if (refused.status !== 404) throw refused; // not kept any more: send it again
      }
    }
    return ask("POST", "/predict", { model: this.model.name, keep: true, ...thresholds }, this.picture, wait);
  }

  /** Draw the map: hidden classes are clear, the chosen segment is bright. */
  paint() {
    if (!this.answer) {
      this.canvas.width = this.canvas.height = 0;
      return;
    }
    const { width, height, ids } = this.map;
    const step = Math.max(1, Math.ceil(Math.sqrt((width * height) / MOST_PIXELS)));
    const [columns, rows] = [Math.ceil(width / step), Math.ceil(height / step)];
    const pixels = new Uint32Array(columns * rows);
    const colors = new Map([...this.segments].map(([id, segment]) => [id, this.color(segment)]));
    const borders = this.page.borders();
    const isThing = (id) => this.segments.get(id)?.isthing === 1;
    for (let y = 0, at = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++, at++) {
        const place = y * step * width + x * step;
        const id = ids[place];
        const left = x ? ids[place - step] : id;
        const above = y ? ids[place - step * width] : id;
        pixels[at] = colors.get(id) ?? 0;
        if (borders && pixels[at] && (left !== id || above !== id)) {
          pixels[at] = [id, left, above].some(isThing) ? WHITE : BLACK;
        }
      }
    }
    this.canvas.width = columns;
    this.canvas.height = rows;
    this.canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), columns, rows), 0, 0);
  }

  /** A segment's colour as a canvas holds it; 0 is clear. */
  color(segment) {
    if (this.page.hidden.has(segment.category)) return 0;
    if (segment === this.chosen) return WHITE;
    const rgb = parseInt(segment.color.slice(1), 16);
    return (0xff000000 | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
  }

  /** The segments in words, largest first, things before stuff. */
  list() {
    const order = [...this.segments.values()].sort((a, b) => b.isthing - a.isthing || b.area - a.area);
    const chosen = this.chosen?.id;
    this.chosen = null;
    const rows = order.map((segment) => {
      const button = document.createElement("button");
      const [swatch, name, rest] = ["span", "span", "small"].map((kind) => document.createElement(kind));
      swatch.className = "swatch";
      swatch.style.background = segment.color;
      name.className = "name";
      name.textContent = segment.category;
      rest.textContent = facts(segment).replace("pixels", "px");
      button.type = "button";
      button.append(swatch, name, rest);
      button.setAttribute("aria-label", `${segment.category}, ${facts(segment)}`);
      button.dataset.id = segment.id;
      button.addEventListener("focus", () => this.choose(segment));
      button.addEventListener("blur", () => this.choose(null));
      button.addEventListener("pointerenter", () => this.choose(segment));
      button.addEventListener("pointerleave", () => this.choose(null));
      button.addEventListener("click", () => this.page.explain(this, segment));
      const row = document.createElement("li");
      row.append(button);
      return row;
    });
    const focused = this.root.contains(document.activeElement) && document.activeElement.dataset.id;
    this.part(".segments").replaceChildren(...rows);
    if (focused) this.part(`[data-id="${Number(focused)}"]`)?.focus();
    if (chosen && !this.chosen) this.choose(this.segments.get(chosen) ?? null, false);
    this.paint();
  }

  /** Let a segment stand out, here and in the list. */
  choose(segment, paint = true) {
    if (segment === this.chosen) return;
    this.chosen = segment;
    for (const button of this.root.querySelectorAll(".segments button")) {
      button.classList.toggle("chosen", Number(button.dataset.id) === segment?.id);
    }
    if (!segment) this.part(".tip").hidden = true;
    if (paint && this.answer) this.paint();
  }

  at(event) {
    if (!this.answer) return null;
    const box = this.canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * this.map.width);
    const y = Math.floor(((event.clientY - box.top) / box.height) * this.map.height);
    const id = this.map.ids[y * this.map.width + x];
    const segment = this.segments.get(id);
    return segment && !this.page.hidden.has(segment.category) ? segment : null;
  }

  point(event) {
    const segment = this.at(event);
    this.choose(segment);
    if (!segment) return;
    const tip = this.part(".tip");
    tip.textContent = `${segment.category} ${facts(segment)}`;
    tip.hidden = false;
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    tip.style.left = `${Math.max(0, Math.min(x + 12, box.width - tip.offsetWidth))}px`;
    tip.style.top = `${y > 40 ? y - 34 : y + 18}px`;
  }

  click(event) {
    const segment = this.at(event);
    this.point(event);
    const first = event.pointerType === "touch" && segment !== this.touched; // which only tells what it is
    this.touched = segment;
    if (segment && !first) this.page.explain(this, segment);
  }

  /** Offer map and segments as the files that `Prediction.save` writes. */
  link() {
    const { png, segments_info } = this.answer;
    const name = this.page.name();
    const rows = segments_info.map(({ color, ...row }) => row);
    const json = JSON.stringify({ file_name: `${name}.png`, segments_info: rows }, null, 1);
    const files = { png: [fromBase64(png), "image/png"], json: [`${json}\n`, "application/json"] };
    for (const [kind, [content, type]] of Object.entries(files)) {
      const link = this.part(`.${kind}`);
      URL.revokeObjectURL(link.href);
      link.href = URL.createObjectURL(new Blob([content], { type }));
      link.download = `${name}.${kind}`;
    }
  }
}
