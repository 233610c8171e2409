// Writes out what /openapi.json says.

const schema = await (await fetch("/openapi.json")).json();
const calls = document.getElementById("calls");

function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

const plain = (text) => text.replaceAll("`", "");

function table(caption, rows) {
  if (!rows.length) return "";
  const body = rows.map(([head, ...cells]) => {
    const first = element("th", element("code", head));
    first.scope = "row";
    return element("tr", first, ...cells.map((cell) => element("td", plain(cell))));
  });
  const made = element("div", element("table", element("caption", caption), ...body));
  made.className = "scroll";
  return made;
}

/** A type in words: "number, 0 to 1". */
function describe(type) {
  if (type.$ref) return type.$ref.split("/").at(-1);
  if (type.anyOf) return describe(type.anyOf.find((each) => each.type !== "null"));
  if (type.type === "array") return `list of ${type.items ? describe(type.items) : type.prefixItems.map(describe).join(", ")}`;
  const bounds = type.minimum === undefined ? "" : `, ${type.minimum}${type.maximum <= 1 ? ` to ${type.maximum}` : " or more"}`;
  return `${type.type}${bounds}`;
}

calls.append(...schema.info.description.trim().split("\n\n").map((text) => element("p", plain(text))));
calls.append(element("pre", `curl --data-binary @street.jpg ${location.origin}/predict`));
for (const [path, methods] of Object.entries(schema.paths)) {
  for (const [method, call] of Object.entries(methods)) {
    const section = element("section", element("h2", element("code", `${method.toUpperCase()} ${path}`)), element("p", call.summary));
    if (call.requestBody) section.append(element("p", `Body: ${call.requestBody.description}`));
    const inQuery = (call.parameters ?? []).map((each) => [each.name, describe(each.schema), each.description ?? ""]);
    section.append(table("Query and headers", inQuery));
    const refusals = Object.entries(call.responses).filter(([status]) => status !== "200");
    section.append(table("Refusals", refusals.map(([status, { description }]) => [status, description])));
    calls.append(section);
  }
}
for (const [name, type] of Object.entries(schema.components.schemas)) {
  if (!type.properties || name.includes("Validation")) continue;
  const fields = Object.entries(type.properties).map(([field, kind]) => [field, describe(kind), kind.description ?? ""]);
  calls.append(element("section", element("h2", name), element("p", type.description ?? ""), table("Fields", fields)));
}
