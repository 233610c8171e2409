"use strict";

// The gallery. DATA.filters: [{name, options: [text]}]; DATA.pictures: [{title, note, picture, panels: [[name, map]],
// problems: [{text, wrong}], segments: [[heading, [[category, text, wrong]]]], chosen: [[option numbers] per filter]}];
// DATA.categories: [{name, color}]. DATA.orders: [text], with order: [number per order] in every picture; the smallest
// comes first. A panel is the picture with a map over it, or with none.

const PAGE = 60;  // pictures and panels that are shown at once
const $ = (id) => document.getElementById(id);

function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function panels(picture, eager) {
  const loading = eager ? "eager" : "lazy";
  const all = picture.panels.map(([name, map]) => {
    const box = make("span", { class: "stack" });
    if (picture.picture) box.append(make("img", { src: picture.picture, alt: `${picture.title} ${name}`.trim(), loading }));
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
    const card = make("button", { class: "card", type: "button" }, panels(picture, false), text);
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
  const segments = picture.segments.filter(([, list]) => list.length).flatMap(([heading, list]) => [
    ...(heading ? [make("h4", {}, heading)] : []),
    make("ul", {}, ...list.map(([category, text, wrong]) => {
      const swatch = make("span", { class: "swatch" });
      swatch.style.background = DATA.categories[category].color;
      return make("li", wrong ? { class: "wrong" } : {}, swatch, `${DATA.categories[category].name}: ${text}`);
    })),
  ]);
  viewer.replaceChildren(
    make("header", {}, make("h3", {}, picture.title), step("Previous", number - 1), step("Next", number + 1), close),
    panels(picture, true),
    make("div", { class: "text" }, make("small", {}, picture.note), ...problems(picture, Infinity), ...segments),
  );
  viewer.onkeydown = (event) => {
    const to = { ArrowLeft: number - 1, ArrowRight: number + 1 }[event.key];
    if (chosen[to]) view(to);
  };
  if (!viewer.open) viewer.showModal();
  viewer.focus();
}

// Tables that sort by the column whose head is pressed, and show the rows that hold a word.

function sortable(table) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const number = (text) => Number.parseFloat(text.replaceAll(",", ""));
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = make("button", { type: "button", class: "sort" }, ...head.childNodes);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      // Numbers begin with the largest, names with the first.
      const keys = new Map(rows.map((row) => [row, row.cells[column].textContent]));
      const numeric = rows.some((row) => !Number.isNaN(number(keys.get(row)))) && column > 0;
      const first = numeric ? "descending" : "ascending";
      const order = head.ariaSort === first ? (numeric ? "ascending" : "descending") : first;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.ariaSort = order;
      const sign = order === "ascending" ? 1 : -1;
      const compare = numeric
        ? (a, b) => sign * (number(keys.get(a)) - number(keys.get(b))) ||
            Number.isNaN(number(keys.get(a))) - Number.isNaN(number(keys.get(b)))
        : (a, b) => sign * keys.get(a).localeCompare(keys.get(b));
      body.replaceChildren(...rows.sort(compare));
    });
  });
  const search = make("input", { type: "search", "aria-label": `Rows of: ${table.caption.textContent}` });
  search.addEventListener("input", () => {
    const word = search.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(word);
  });
  table.parentElement.before(make("label", { class: "search" }, "Rows with ", search));
}

document.querySelectorAll("table.sortable").forEach(sortable);

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
$("more").addEventListener("click", more);
choose();
