"use strict";

// Tables that sort by the column whose head is pressed, and show the rows that hold a word.

function sortable(table) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const number = (text) => Number.parseFloat(text.replaceAll(",", ""));
  const heads = [...table.tHead.rows[0].cells];
  const told = make("span", { role: "status", class: "unseen" });
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
