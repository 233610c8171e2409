"use strict";

// The gallery. DATA.filters: [{name, options: [text]}]; DATA.pictures: [{title, note, picture, map, problems: [{text,
// wrong}], segments: [[category, text]], chosen: [[option numbers] per filter]}]; DATA.categories: [{name, color}].

const PAGE = 60;
const $ = (id) => document.getElementById(id);

function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function stack(picture, eager) {
  const loading = eager ? "eager" : "lazy";
  const box = make("span", { class: "stack" });
  if (picture.picture) box.append(make("img", { src: picture.picture, alt: picture.title, loading }));
  else box.append(make("span", { class: "gone" }, "cannot be drawn"));
  if (picture.map) box.append(make("img", { src: picture.map, alt: "", class: "map", loading }));
  return box;
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
  const wanted = [...$("filters").querySelectorAll("select")].map((select) => Number(select.value));
  chosen = DATA.pictures.filter((p) => wanted.every((option, filter) => option < 0 || p.chosen[filter].includes(option)));
  $("count").textContent = `${chosen.length} of ${DATA.pictures.length} pictures`;
  $("gallery").replaceChildren();
  shown = 0;
  more();
}

function more() {
  for (; shown < Math.min(chosen.length, PAGE * Math.ceil((shown + 1) / PAGE)); shown++) {
    const picture = chosen[shown];
    const number = shown;
    const text = make("span", { class: "text" }, picture.title, make("small", {}, picture.note), ...problems(picture, 3));
    const card = make("button", { class: "card", type: "button" }, stack(picture, false), text);
    card.addEventListener("click", () => view(number));
    $("gallery").append(card);
  }
  $("more").hidden = shown >= chosen.length;
}

function view(number) {
  const picture = chosen[number];
  const viewer = $("viewer");
  const step = (label, to) => {
    const button = make("button", { type: "button" }, label);
    button.disabled = !chosen[to];
    button.addEventListener("click", () => view(to));
    return button;
  };
  const close = make("button", { type: "button" }, "Close");
  close.addEventListener("click", () => viewer.close());
  const segments = picture.segments.map(([category, text]) => {
    const swatch = make("span", { class: "swatch" });
    swatch.style.background = DATA.categories[category].color;
    return make("li", {}, swatch, `${DATA.categories[category].name}: ${text}`);
  });
  viewer.replaceChildren(
    make("header", {}, make("h3", {}, picture.title), step("Previous", number - 1), step("Next", number + 1), close),
    stack(picture, true),
    make("div", { class: "text" }, make("small", {}, picture.note), ...problems(picture, Infinity), make("ul", {}, ...segments)),
  );
  viewer.onkeydown = (event) => {
    const to = { ArrowLeft: number - 1, ArrowRight: number + 1 }[event.key];
    if (chosen[to]) view(to);
  };
  if (!viewer.open) viewer.showModal();
  viewer.focus();
}

DATA.filters.forEach((filter) => {
  const select = make("select", {}, make("option", { value: -1 }, "all"));
  filter.options.forEach((text, option) => select.append(make("option", { value: option }, text)));
  select.addEventListener("change", choose);
  $("filters").append(make("label", {}, `${filter.name} `, select));
});
$("controls").addEventListener("submit", (event) => event.preventDefault());
$("opacity").addEventListener("input", (event) => {
  document.documentElement.style.setProperty("--opacity", event.target.value / 100);
});
$("more").addEventListener("click", more);
choose();
