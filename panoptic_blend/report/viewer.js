"use strict";

// A picture of the gallery, large. Its segments are [[heading, [[category, text, wrong]]]], listed below it. A picture
// with picks has them in a script of its own, which is loaded when the picture is opened, since a page from disk may
// read no file otherwise: PICKS[its path] = [[heading, ids, [[category, text, wrong]]]]. There, ids is an image whose
// pixels are red + 256 green = the number of a segment, from 1; its map is the panel after the picture, and so on.

const PICKS = {};
let opened = -1;  // the picture's place among those chosen
let groups = [];  // of its segments: {heading, list, ids: {width, height, at(x, y)}, buttons, mark}

const step = (label, by) => {
  const button = make("button", { type: "button" }, label);
  button.addEventListener("click", () => view(opened + by));
  return button;
};
const leave = make("button", { type: "button" }, "Close");
const title = make("h3", { id: "title" });
const [previous, next] = [step("Previous", -1), step("Next", 1)];
const picked = make("p", { id: "picked", role: "status" });
const body = make("div");
$("viewer").append(make("header", {}, title, previous, next, leave, picked), body);
next.autofocus = true;
leave.addEventListener("click", () => $("viewer").close());
$("viewer").addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (by) view(opened + by);
});
$("viewer").addEventListener("close", () => { opened = -1; });

function view(number) {
  const picture = chosen[number];
  if (!picture) return;
  opened = number;
  title.textContent = picture.title;
  // Disabled buttons would lose the focus.
  previous.ariaDisabled = !chosen[number - 1];
  next.ariaDisabled = !chosen[number + 1];
  const list = make("div", { class: "text" }, make("small", {}, picture.note), ...problems(picture, Infinity));
  const all = panels(picture, true);
  body.replaceChildren(all, list);
  if (!$("viewer").open) $("viewer").showModal();
  $("viewer").scrollTop = 0;
  picked.hidden = !picture.picks;
  picked.textContent = "";
  if (picture.picks) pickable(picture, all, list);
  else show(picture.segments.map(([heading, segments]) => ({ heading, segments })), list, "li");
}

function show(all, list, name) {
  groups = all.filter((group) => group.segments.length);
  for (const group of groups) {
    group.lines = group.segments.map(([category, text, wrong]) => {
      const swatch = make("span", { class: "swatch" });
      swatch.style.background = DATA.categories[category].color;
      const words = [swatch, `${DATA.categories[category].name}: ${text}`];
      const line = name === "li" ? make("span", {}, ...words) : make("button", { type: "button", class: "pick" }, ...words);
      if (wrong) line.classList.add("wrong");
      return line;
    });
    if (group.heading) list.append(make("h4", {}, group.heading));
    list.append(make("ul", {}, ...group.lines.map((line) => make("li", {}, line))));
  }
}

async function pickable(picture, all, list) {
  const found = await load(picture.picks);
  if (chosen[opened] !== picture || !all.isConnected) return;  // the reader went on meanwhile
  const stacks = [...all.querySelectorAll(".stack")];
  found.forEach((group, place) => {
    group.mark = make("canvas", { class: "mark", width: group.ids.width, height: group.ids.height });
    stacks[place + 1].append(group.mark);
  });
  picked.textContent = found.length
    ? "Press a place in a picture, or a segment below, to see it and what it is."
    : `Its segments are not there: ${picture.picks} is missing.`;
  show(found, list, "button");
  groups.forEach((group) => group.lines.forEach((line, number) => {
    line.addEventListener("click", () => pick(groups.map((each) => each === group ? number + 1 : 0), false));
  }));
  all.addEventListener("click", (event) => {
    const stack = event.target.closest(".stack");
    const place = stack && inside(stack, event);
    if (place) pick(groups.map((group) => group.ids.at(...place)), true);
  });
}

// Where in a picture, in 0..1, an event is; a picture may be smaller than its box.
function inside(stack, event) {
  const image = stack.querySelector("img");
  if (!image) return null;
  const box = image.getBoundingClientRect();
  const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
  const place = [
    (event.clientX - box.left - box.width / 2) / (scale * image.naturalWidth) + 0.5,
    (event.clientY - box.top - box.height / 2) / (scale * image.naturalHeight) + 0.5,
  ];
  return place.every((value) => value >= 0 && value < 1) ? place : null;
}

// Show one segment of each group, by its number from 1, or none of it (0), and say what it is.
function pick(numbers, all) {
  const told = [];
  groups.forEach((group, place) => {
    const number = numbers[place];
    group.lines.forEach((line, other) => { line.ariaPressed = other === number - 1; });
    spotlight(group, number);
    if (number) told.push(`${group.heading}: ${group.lines[number - 1].textContent}`);
    else if (all) told.push(`${group.heading}: nothing`);
  });
  picked.textContent = `${told.join(". ")}.`;
}

function spotlight({ mark, ids }, number) {
  const context = mark.getContext("2d", { willReadFrequently: true });
  const shade = context.createImageData(ids.width, ids.height);
  if (number) for (let i = 0; i < ids.numbers.length; i++) shade.data[4 * i + 3] = ids.numbers[i] === number ? 0 : 190;
  context.putImageData(shade, 0, 0);
}

async function load(path) {
  if (!PICKS[path]) {
    await new Promise((done) => {
      const script = make("script", { src: path });
      script.addEventListener("load", done);
      script.addEventListener("error", done);
      document.head.append(script);
    });
  }
  return Promise.all((PICKS[path] || []).map(async ([heading, image, segments]) => {
    return { heading, segments, ids: await read(image) };
  }));
}

async function read(source) {
  const image = make("img", { src: source });
  await image.decode();
  const { naturalWidth: width, naturalHeight: height } = image;
  const context = make("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, width, height).data;
  const numbers = Uint16Array.from({ length: width * height }, (_, i) => pixels[4 * i] + 256 * pixels[4 * i + 1]);
  return { width, height, numbers, at: (x, y) => numbers[Math.floor(y * height) * width + Math.floor(x * width)] };
}
