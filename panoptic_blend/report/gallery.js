"use strict";

// The gallery. DATA.filters: [{name, options: [text]}]; DATA.pictures: [{title, note, picture, panels: [[name, map]],
// problems: [{text, wrong}], chosen: [[option numbers] per filter], and picks or segments, see viewer.js}];
// DATA.categories: [{name, color}]. DATA.orders: [text], with order: [number per order] in every picture; the smallest
// comes first. A panel is the picture with a map over it, or with none.

const PAGE = 60;  // pictures and panels that are shown at once

function panels(picture, inside) {
  const loading = inside ? "eager" : "lazy";
  const all = picture.panels.map(([name, map]) => {
    const box = make("span", { class: "stack" });
    const alt = inside ? `${picture.title} ${name}`.trim() : "";
    if (picture.picture) box.append(make("img", { src: picture.picture, alt, loading }));
    else box.append(make("span", { class: "gone" }, "cannot be drawn"));
    if (map) box.append(make("img", { src: map, alt: "", class: "map", loading }));
    return make("span", { class: "panel" }, box, ...(name ? [make("small", {}, name)] : []));
  });
  return make("span", { class: all.length > 1 ? "panels several" : "panels" }, ...all);
}

function problems(picture, most) {
  const lines = picture.problems.slice(0, most).map((p) => make("span", { class: p.wrong ? "wrong" : "look" }, p.text));
  const left = picture.problems.length - lines.length;
  if (left > 0) lines.push(make("span", { class: "look" }, `and ${left} more`));
  return lines;
}

let chosen = [];
let shown = 0;

function choose() {
  const wanted = [...$("filters").querySelectorAll("select:not(#order)")].map((select) => Number(select.value));
  chosen = DATA.pictures.filter((p) => wanted.every((option, filter) => option < 0 || p.chosen[filter].includes(option)));
  const order = $("order")?.value;
  if (order) chosen.sort((a, b) => a.order[order] - b.order[order]);
  $("count").textContent = `${chosen.length} of ${DATA.pictures.length} pictures`;
  $("gallery").replaceChildren();
  shown = 0;
  more();
}

function more() {
  const end = Math.min(chosen.length, shown + Math.ceil(PAGE / (DATA.pictures[0]?.panels.length || 1)));
  for (; shown < end; shown++) {
    const picture = chosen[shown];
    const number = shown;
    const text = make("span", { class: "text" }, picture.title, make("small", {}, picture.note), ...problems(picture, 3));
    const pictures = panels(picture, false);
    pictures.ariaHidden = true;  // the text is the card's name
    const card = make("button", { class: "card", type: "button" }, pictures, text);
    card.addEventListener("click", () => view(number));
    $("gallery").append(card);
  }
  $("more").hidden = shown >= chosen.length;
}

// Arrows go from card to card.
$("gallery").addEventListener("keydown", (event) => {
  const cards = [...$("gallery").children];
  const place = cards.indexOf(document.activeElement);
  const columns = cards.filter((card) => card.offsetTop === cards[0].offsetTop).length;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  if (!step || place < 0 || !cards[place + step]) return;
  event.preventDefault();
  cards[place + step].focus();
});

$("more").addEventListener("click", () => {
  const first = shown;
  more();
  $("gallery").children[first]?.focus();
});

DATA.filters.forEach((filter) => {
  const select = make("select", {}, make("option", { value: -1 }, "all"));
  filter.options.forEach((text, option) => select.append(make("option", { value: option }, text)));
  select.addEventListener("change", choose);
  $("filters").append(make("label", {}, `${filter.name} `, select));
});
if (DATA.orders.length > 1) {
  const select = make("select", { id: "order" });
  DATA.orders.forEach((text, order) => select.append(make("option", { value: order }, text)));
  select.addEventListener("change", choose);
  $("filters").append(make("label", {}, "Order ", select));
}
$("controls").addEventListener("submit", (event) => event.preventDefault());
$("opacity").addEventListener("input", (event) => {
  document.documentElement.style.setProperty("--opacity", event.target.value / 100);
});
choose();
