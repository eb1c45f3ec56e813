// Sorting and filtering of the tables.

/** The value by which a cell is sorted: a number, a text, or null for an empty cell. */
function valueOf(row, column) {
  const cell = row.cells[column];
  if (cell.dataset.value !== undefined) return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  return cell.textContent.trim() || null;
}

function compare(a, b) {
  return typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

/** Sorts the rows of a table; empty cells stay at the end, and rows of one value in their first order. */
function sort(table, column, direction) {
  const body = table.tBodies[0];
  table.rowsAtFirst ??= [...body.rows];
  const rows = [...table.rowsAtFirst];
  if (direction !== "none") {
    const sign = direction === "ascending" ? 1 : -1;
    rows.sort((one, other) => {
      const [a, b] = [valueOf(one, column), valueOf(other, column)];
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * compare(a, b);
    });
  }
  body.append(...rows);
  all("thead th", table).forEach((head, place) => {
    if (place === column && direction !== "none") head.setAttribute("aria-sort", direction);
    else head.removeAttribute("aria-sort");
  });
}

/** A number begins with its largest value, a text with a; the third click restores the first order. */
function sortable(table, name) {
  all("thead th", table).forEach((head, column) => {
    const order = head.classList.contains("text") ? ["ascending", "descending"] : ["descending", "ascending"];
    find("button", head).addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const next = now === null ? order[0] : now === order[0] ? order[1] : "none";
      sort(table, column, next);
      state.sorted[name] = [column, next];
      keep();
    });
  });
  const [column, direction] = state.sorted[name] ?? [0, "none"];
  if (direction !== "none" && column < table.tHead.rows[0].cells.length) sort(table, column, direction);
}

/** A form of controls with `data-filter`; `apply` shows rows and returns what the form says of their number. */
function filterable(form, name, apply) {
  const controls = all("[data-filter]", form);
  const run = () => {
    find("output", form).textContent = apply(Object.fromEntries(controls.map((c) => [c.dataset.filter, c.value])));
    state.filters[name] = controls.map((control) => control.value);
    keep();
  };
  (state.filters[name] ?? []).forEach((value, place) => {
    if (controls[place]) controls[place].value = value;
    // A choice that no record has any more.
    if (controls[place] && controls[place].value !== value) controls[place].selectedIndex = 0;
  });
  controls.forEach((control) => control.addEventListener("input", run));
  form.addEventListener("submit", (event) => event.preventDefault());
  run();
  return run;
}

const contains = (text, sought) => sought.toLowerCase().split(/\s+/).every((word) => text.toLowerCase().includes(word));

function listFilter(table) {
  return ({ text, ...exact }) => {
    const rows = [...table.tBodies[0].rows];
    for (const row of rows)
      row.hidden = !(contains(row.textContent.replaceAll(/\s+/g, " "), text.trim())
        && Object.entries(exact).every(([key, value]) => value === "" || row.dataset[key] === value));
    return `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
  };
}
