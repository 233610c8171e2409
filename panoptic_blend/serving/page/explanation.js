// How the mask of an object came about, in a dialog.

import { ask } from "./server.js";

const dialog = document.getElementById("explanation");

/** Ask how a segment of a pane's map came about, and show it. */
export async function explain(pane, segment, thresholds) {
  if (!pane.model.explains || !segment.isthing || !pane.answer.id) return;
  const found = await ask("POST", "/explain", { id: pane.answer.id, segment: segment.id, ...thresholds });
  document.getElementById("followed").textContent = `How this mask came about: ${segment.category}, ${Math.round(100 * segment.score)}%`;
  document.getElementById("bases").replaceChildren(
    ...found.bases.map((basis, place) => figure(picture(basis, `Basis ${place + 1}`), `basis ${place + 1}`)),
  );
  showSteps(pane, found);
  if (!dialog.open) dialog.showModal();
}

/** A row for the bases in the box, the attention and the products: a column for each basis, and one for the whole. */
function showSteps(pane, found) {
  const rows = [
    ["basis in the box", found.regions, figure(cut(pane, found.box), "the box")],
    ["× attention", found.attention, ""],
    ["= product", found.products, figure(picture(found.mask, "The sum of the products"), "their sum")],
  ];
  const steps = document.getElementById("steps");
  steps.style.gridTemplateColumns = `auto repeat(${found.bases.length + 1}, minmax(4rem, 1fr))`;
  const cells = rows.flatMap(([name, maps, whole]) => {
    const [label, last] = ["span", "div"].map((kind) => document.createElement(kind));
    label.textContent = name;
    last.append(whole);
    return [label, ...maps.map((map, place) => picture(map, `${name}, basis ${place + 1}`)), last];
  });
  steps.replaceChildren(...cells);
}

function picture(png, name) {
  const image = document.createElement("img");
  image.src = `data:image/png;base64,${png}`;
  image.alt = name;
  return image;
}

/** The part of the picture inside a box. */
function cut(pane, [left, top, right, bottom]) {
  const image = pane.part("img");
  const scale = image.naturalWidth / pane.answer.width;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 168; // square, as the maps of the box are
  const box = [left, top, right - left, bottom - top].map((length) => length * scale);
  canvas.getContext("2d").drawImage(image, ...box, 0, 0, canvas.width, canvas.height);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "The box in the picture");
  return canvas;
}

function figure(content, caption) {
  const root = document.createElement("figure");
  const text = document.createElement("figcaption");
  text.textContent = caption;
  root.append(text, content);
  return root;
}
