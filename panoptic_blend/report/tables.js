"use strict";

// Tables that sort by the column whose head is pressed, and show the rows that hold a word.

const words = new Intl.Collator();

function sortable(table) {
  const body = table.tBodies[0];
  let rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const told = make("span", { role: "status", class: "unseen" });
  heads.forEach((head, column) => {
    const button = make("button", { type: "button", class: "sort" }, ...head.childNodes);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      // Numbers begin with the largest, names with the first.
      const texts = rows.map((row) => row.cells[column].textContent);
      const numbers = texts.map((text) => Number.parseFloat(text.replaceAll(",", "")));
      const numeric = column > 0 && numbers.some((value) => !Number.isNaN(value));
      const first = numeric ? "descending" : "ascending";
      const order = head.ariaSort === first ? (numeric ? "ascending" : "descending") : first;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.ariaSort = order;
      const sign = order === "ascending" ? 1 : -1;
      const compare = numeric
        ? (a, b) => sign * (numbers[a] - numbers[b]) || Number.isNaN(numbers[a]) - Number.isNaN(numbers[b])
        : (a, b) => sign * words.compare(texts[a], texts[b]);
      rows = [...rows.keys()].sort(compare).map((place) => rows[place]);
      body.replaceChildren(...rows);
      told.textContent = `Sorted by ${button.textContent}, ${order}`;
    });
  });
  const search = make("input", { type: "search", "aria-label": `Rows of: ${table.caption.textContent}` });
  search.addEventListener("input", () => {
    const word = search.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(word);
    told.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  });
  table.parentElement.before(make("label", { class: "search" }, "Rows with ", search), told);
}

document.querySelectorAll("table.sortable").forEach(sortable);
