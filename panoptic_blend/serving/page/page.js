// The page: chooses a picture, and lets panes show what the models see in it.

import { explain } from "./explanation.js";
import { Pane } from "./pane.js";
import { ask, useToken } from "./server.js";

const EXAMPLES = 4;
const by = (id) => document.getElementById(id);
const sliders = ["min_score", "max_overlap", "min_stuff_area"].map(by);

/** What panes share. */
const page = {
  panes: [],
  hidden: new Set(), // names of classes
  moved: new Set(), // sliders that a person moved; of the others, each model uses its own value
  stem: "picture",
  name: () => page.stem,
  borders: () => by("borders").checked,
  thresholds: () => Object.fromEntries(sliders.filter((each) => page.moved.has(each)).map((each) => [each.id, value(each)])),
  say,
  changed: listClasses,
  async explain(pane, segment) {
    try {
      await explain(pane, segment, page.thresholds());
    } catch (refused) {
      say(refused.message, true, refused.status);
    }
  },
};

function say(text, wrong = false, status = 200) {
  by("status").textContent = text;
  by("status").classList.toggle("wrong", wrong);
  if (status === 401) by("token").hidden = false;
}

/** Areas grow with the square of their slider, so that small ones can be chosen as well. */
function value(slider) {
  return slider.id === "min_stuff_area" ? Math.round(slider.valueAsNumber ** 2) : slider.valueAsNumber;
}

function tell(slider) {
  const share = slider.id === "min_stuff_area" ? `${value(slider).toLocaleString("en")} px` : `${Math.round(100 * value(slider))}%`;
  slider.previousElementSibling.textContent = slider.id === "opacity" ? `${slider.value}%` : share;
}

/** Put the sliders where the first model has its own thresholds. */
function resetSliders() {
  page.moved.clear();
  for (const slider of sliders) {
    const own = page.panes[0].model.thresholds[slider.id];
    slider.value = slider.id === "min_stuff_area" ? Math.sqrt(own) : own;
    tell(slider);
  }
}

async function show(picture, stem) {
  page.stem = stem.replace(/[^\p{L}\p{N}_. -]/gu, "_") || "picture";
  if (page.url) URL.revokeObjectURL(page.url);
  page.url = URL.createObjectURL(picture);
  by("work").hidden = false;
  say("Looking at it...");
  await Promise.all(page.panes.map((pane) => pane.predict(picture, page.url)));
}

function take(files) {
  const picture = [...files].find((file) => file.type.startsWith("image/")) ?? files[0];
  if (picture) show(picture, picture.name.replace(/\.[^.]*$/, ""));
}

/** The classes that are seen, or were before they were hidden, to be shown or not. */
function listClasses() {
  say("");
  const seen = new Map();
  for (const segment of page.panes.flatMap((pane) => pane.answer?.segments_info ?? [])) seen.set(segment.category, segment.color);
  for (const model of page.panes.map((pane) => pane.model)) {
    for (const { name, color } of model.categories) if (page.hidden.has(name) || seen.has(name)) seen.set(name, color);
  }
  const focused = document.activeElement.name;
  const rows = [...seen].sort().map(([name, color]) => {
    const [row, box, swatch] = ["label", "input", "span"].map((kind) => document.createElement(kind));
    box.type = "checkbox";
    box.name = name;
    box.checked = !page.hidden.has(name);
    box.addEventListener("change", () => {
      page.hidden[box.checked ? "delete" : "add"](name);
      for (const pane of page.panes) pane.paint();
    });
    swatch.className = "swatch";
    swatch.style.background = color;
    row.className = "check";
    row.append(box, swatch, name);
    return row;
  });
  by("classes").replaceChildren(by("classes").querySelector("legend"), ...rows);
  if (focused) by("classes").elements[focused]?.focus();
}

async function start() {
  const models = await ask("GET", "/models");
  by("token").hidden = true;
  say("");
  by("models").textContent = models.map((model) => model.name).join(" beside ");
  page.panes = models.map((model) => new Pane(model, page));
  by("panes").replaceChildren(...page.panes.map((pane) => pane.root));
  by("panes").classList.toggle("several", models.length > 1);
  resetSliders();
}

function setUp() {
  by("file").querySelector("input").addEventListener("change", (event) => take(event.target.files));
  for (let number = 1; number <= EXAMPLES; number++) {
    const [button, image] = ["button", "img"].map((kind) => document.createElement(kind));
    image.src = `/page/example-${number}.jpg`;
    image.alt = `Example ${number}: toys on a beach`;
    button.append(image);
    button.addEventListener("click", async () => show(await (await fetch(image.src)).blob(), `example-${number}`));
    by("examples").append(button);
  }
  document.addEventListener("paste", (event) => take(event.clipboardData.files));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    take(event.dataTransfer.files);
  });

  for (const slider of sliders) {
    slider.addEventListener("input", () => {
      page.moved.add(slider);
      tell(slider);
      for (const pane of page.panes) pane.merge();
    });
  }
  by("reset").addEventListener("click", () => {
    resetSliders();
    for (const pane of page.panes) pane.merge();
  });
  const setOpacity = () => {
    tell(by("opacity"));
    by("panes").style.setProperty("--opacity", by("opacity").value / 100);
  };
  by("opacity").addEventListener("input", setOpacity);
  setOpacity();
  by("borders").addEventListener("change", () => page.panes.forEach((pane) => pane.paint()));
  by("token").addEventListener("submit", (event) => {
    event.preventDefault();
    useToken(by("token").querySelector("input").value);
    begin();
  });
}

function begin() {
  start().catch((refused) => say(refused.message, true, refused.status));
}

setUp();
begin();
