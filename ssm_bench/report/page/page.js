"use strict";
// The tables of the page are HTML. This script sorts and filters them, draws the charts from the data in the page, and
// opens records. It inserts text as text nodes only, so that nothing in a record is ever read as HTML.

const data = JSON.parse(document.getElementById("data").textContent);

// ---------------------------------------------------------------------------------------------------- small helpers

const find = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "style") for (const [name, set] of Object.entries(value)) element.style.setProperty(name, set);
    else if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const fixed = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const percent = (share) => (share === null ? "–" : share >= 1 ? "full" : `${+(100 * share).toPrecision(2)} %`);

function short(value) {
  if (value === null || value === undefined) return "–";
  for (const [unit, factor] of [["G", 1e9], ["M", 1e6], ["k", 1e3]])
    if (Math.abs(value) >= factor) return `${+(value / factor).toPrecision(3)}${unit}`;
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(0).replace("-", "−");
  return `${+value.toPrecision(3)}`;
}

/** A power of ten, as axes with many decades show it. */
const power = (value) => "10" + [...`${Math.round(Math.log10(value))}`].map((c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]).join("");

function duration(seconds) {
  if (seconds < 100) return `${+seconds.toPrecision(3)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

// What the reader chose survives a reload of the page, which a server makes whenever there are new records.
const state = { table: null, measure: "seconds", device: null, slots: null, filters: {}, sorted: {} };
try {
  Object.assign(state, JSON.parse(sessionStorage.getItem("ssm_bench") ?? "{}"));
} catch { /* A browser may keep nothing. */ }

function keep() {
  try {
    sessionStorage.setItem("ssm_bench", JSON.stringify(state));
  } catch { /* Likewise. */ }
}

// ------------------------------------------------------------------------------------------------------------ theme

const root = document.documentElement;
const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function nameTheme() {
  find("#theme").textContent = dark() ? "Light" : "Dark";
}

try {
  const chosen = localStorage.getItem("ssm_bench theme");
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
} catch { /* A browser may keep nothing. */ }
find("#theme").addEventListener("click", () => {
  root.dataset.theme = dark() ? "light" : "dark";
  nameTheme();
  try {
    localStorage.setItem("ssm_bench theme", root.dataset.theme);
  } catch { /* Likewise. */ }
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);
nameTheme();

// ---------------------------------------------------------------------------------------------------------- sorting

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

// --------------------------------------------------------------------------------------------------------- filtering

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

// ------------------------------------------------------------------------------------------------------------ charts

const WIDTH = 320, HEIGHT = 210, LEFT = 34, RIGHT = 10, TOP = 8, BOTTOM = 32;

/** Round numbers between two values, about `count` of them. */
function ticks(low, high, count = 5) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high + 1e-9 * step; k++) found.push(+(k * step).toPrecision(12));
  return found;
}

/** Powers of ten, or of two; with others between powers of ten where these are few. */
function logTicks(low, high, base = 10) {
  const found = [], powers = Math.log(high / low) / Math.log(base);
  const between = base !== 10 || powers >= 2.2 ? [1] : powers < 0.6 ? [1, 2, 3, 4, 5, 6, 7, 8, 9] : [1, 2, 5];
  const stride = Math.max(1, Math.ceil(powers / 5));
  for (let power = Math.floor(Math.log(low) / Math.log(base)); power <= Math.log(high) / Math.log(base); power++)
    if (power % stride === 0)
      for (const factor of between) {
        const value = factor * base ** power;
        if (value >= low * 0.9999 && value <= high * 1.0001) found.push(value);
      }
  return found;
}

/**
 * The frame of a chart: a figure, a group to draw in, and the scales.
 * An axis is {low, high, log, base, label, write}.
 */
function frame({ title, note, x, y, width = WIDTH, height = HEIGHT, left = LEFT, right = width - RIGHT }) {
  const scale = (axis, from, to) => {
    const turn = axis.log ? Math.log : (value) => value;
    const [low, high] = [turn(axis.low), turn(axis.high)];
    return (value) => from + ((to - from) * (turn(value) - low)) / (high - low || 1);
  };
  const across = scale(x, left, right), up = scale(y, height - BOTTOM, TOP);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": title });
  for (const value of (y.log ? logTicks(y.low, y.high) : ticks(y.low, y.high)))
    picture.append(
      svg("line", { class: "grid", x1: left, x2: right, y1: up(value), y2: up(value) }),
      svg("text", { x: left - 6, y: up(value) + 3.5, "text-anchor": "end" }, (y.write ?? short)(value)),
    );
  picture.append(svg("line", { class: "axis", x1: left, x2: right, y1: height - BOTTOM, y2: height - BOTTOM }));
  for (const value of (x.log ? logTicks(x.low, x.high, x.base) : ticks(x.low, x.high, 5)))
    picture.append(
      svg("line", { class: "axis", x1: across(value), x2: across(value), y1: height - BOTTOM, y2: height - BOTTOM + 4 }),
      svg("text", { x: across(value), y: height - BOTTOM + 15, "text-anchor": "middle" }, (x.write ?? short)(value)),
    );
  if (x.label) picture.append(svg("text", { x: right, y: height - 3, "text-anchor": "end" }, x.label));
  const figure = make("figure", {}, make("figcaption", {}, title, note ? make("small", {}, note) : null), picture);
  return { figure, picture, across, up, right, left };
}

const SHAPES = [
  "M-4 0A4 4 0 1 1 4 0A4 4 0 1 1 -4 0Z", // circle
  "M-3.6 -3.6H3.6V3.6H-3.6Z", // square
  "M0 -5L4.6 3.4H-4.6Z", // triangle
  "M0 -5.2L4.6 0L0 5.2L-4.6 0Z", // diamond
  "M0 5L4.6 -3.4H-4.6Z", // triangle, down
  "M-1.5 -4.6H1.5V-1.5H4.6V1.5H1.5V4.6H-1.5V1.5H-4.6V-1.5H-1.5Z", // plus
  "M0 -5L1.4 -1.6L5 -1.5L2.2 0.9L3.1 4.4L0 2.4L-3.1 4.4L-2.2 0.9L-5 -1.5L-1.4 -1.6Z", // star
];
const SLOTS = SHAPES.length;

/** The place of a model among those in color; -1 for gray. */
const slotOf = (model) => state.slots.indexOf(model);
/** A slot of -2 is a plain line in the first color, -3 in the second: lines without marks. */
const colorOf = (slot) => (slot <= -2 ? colorOf(-2 - slot) : slot < 0 ? {} : { "--color": `var(--series-${slot})`, "--hot": `var(--series-${slot})` });

function mark(slot, x, y, hollow = false) {
  return svg("path", {
    class: `mark${slot < 0 ? "" : " colored"}${hollow ? " hollow" : ""}`,
    d: SHAPES[Math.max(slot, 0)],
    transform: `translate(${x} ${y})${slot < 0 ? " scale(0.8)" : ""}`,
    style: colorOf(slot),
  });
}

/** The last of some points and a few before it: by their marks, lines are told apart without color. */
function spread(points) {
  const stride = Math.max(1, Math.ceil(points.length / 4));
  return points.filter((_, place) => (points.length - 1 - place) % stride === 0);
}

const path = (points, across, up) =>
  "M" + points.map(([x, y]) => `${across(x).toFixed(1)} ${up(y).toFixed(1)}`).join("L");

function curve(slot, points, across, up) {
  return svg("path", {
    class: `curve${slot === -1 ? "" : " colored"}`,
    d: path(points, across, up),
    style: colorOf(slot),
  });
}

/** A link around a mark of a chart, to the records behind it. */
function linked(places, label, ...children) {
  return svg("a", { href: data.prefix + places[0], "data-records": places.join(" "), "aria-label": label }, ...children);
}

/** Direct labels: beside their marks, left out where they would cover another. */
function labels(entries, picture, right) {
  const taken = entries.map(({ x, y, arrow }) => [x - (arrow ? 14 : 5), y - 5, x + 5, y + 5]);
  const free = (box) => box[0] > LEFT && box[2] < right + RIGHT + 2 && box[1] > 0
    && taken.every((b) => box[2] < b[0] || box[0] > b[2] || box[3] < b[1] || box[1] > b[3]);
  // Models in color first.
  for (const { x, y, text, slot, arrow } of [...entries].sort((a, b) => (b.slot >= 0) - (a.slot >= 0))) {
    const width = 5.9 * text.length;
    for (const [dx, dy, anchor] of [[8, 3.5, "start"], [arrow ? -16 : -8, 3.5, "end"], [0, -8, "middle"], [0, 15, "middle"]]) {
      const start = anchor === "start" ? x + dx : anchor === "end" ? x + dx - width : x - width / 2;
      const box = [start - 1, y + dy - 9, start + width + 1, y + dy + 2];
      if (!free(box)) continue;
      taken.push(box);
      picture.append(svg("text", { class: slot < 0 ? "label gray" : "label", x: x + dx, y: y + dy, "text-anchor": anchor }, text));
      break;
    }
  }
}

/** Labels at the ends of lines, from the top down a line apart; then from the bottom up, so that none leaves the chart. */
function endLabels(ends, picture, bottom) {
  ends.sort((a, b) => a.y - b.y);
  const places = ends.map(({ y }) => y + 3.5);
  for (let k = 1; k < ends.length; k++) places[k] = Math.max(places[k], places[k - 1] + 12);
  let limit = bottom;
  for (let k = ends.length - 1; k >= 0; k--) limit = (places[k] = Math.min(places[k], limit)) - 12;
  ends.forEach(({ x, text }, k) => picture.append(svg("text", { class: "label", x: x + 9, y: places[k] }, text)));
}

const nothing = (text) => make("p", {}, text);
const extent = (values) => [Math.min(...values), Math.max(...values)];

/** A range of accuracies with some room around it, within 0 and 100. */
function accuracies(values) {
  const [low, high] = extent(values), room = Math.max(2.5, 0.08 * (high - low));
  return { low: Math.max(0, low - room), high: Math.min(101, high + room), write: (value) => `${value}` };
}

const table = () => data.tables.find(({ name }) => name === state.table) ?? data.tables[0];

function drawCost() {
  const { cells = [], tasks = {}, models = {}, kinds = {} } = table() ?? {};
  const measure = state.measure;
  const panels = Object.entries(tasks).map(([task, title]) => {
    const shown = cells.filter((cell) => cell.task === task && cell.accuracy !== null && cell[measure]);
    if (!shown.length) return null;
    const chance = data.records[shown[0].runs[0]].chance;
    const [low, high] = extent(shown.map((cell) => cell[measure]));
    const widen = Math.max(1.35, Math.sqrt((6 * low) / high));
    const { figure, picture, across, up, right } = frame({
      title,
      note: kinds[task],
      x: { low: low / widen, high: high * widen, log: true, label: find(`#measure option[value=${measure}]`).textContent },
      y: accuracies([chance, ...shown.flatMap((c) => [c.accuracy - (c.interval ?? 0), c.accuracy + (c.interval ?? 0)])]),
    });
    picture.append(svg("line", { class: "chance", x1: LEFT, x2: right, y1: up(chance), y2: up(chance) }));
    const named = [];
    // Gray marks below those in color.
    for (const cell of [...shown].sort((a, b) => slotOf(a.model) - slotOf(b.model))) {
      const slot = slotOf(cell.model), x = across(cell[measure]), y = up(cell.accuracy);
      const shared = measure === "seconds" && !cell.alone;
      const whisker = (d) => svg("path", { class: `whisker${slot < 0 ? "" : " colored"}`, d, style: colorOf(slot) });
      picture.append(
        linked(
          cell.runs,
          `${models[cell.model]} on ${title}: ${fixed(cell.accuracy)} %, ${short(cell[measure])}`,
          shared ? whisker(`M${x - 5} ${y}h-8m3.5 -3l-3.5 3l3.5 3`) : null,
          cell.interval === null ? null
            : whisker(`M${x} ${up(cell.accuracy - cell.interval)}V${up(cell.accuracy + cell.interval)}`),
          mark(slot, x, y, cell.young),
        ),
      );
      named.push({ x, y, text: models[cell.model], slot, arrow: shared });
    }
    labels(named, picture, right);
    return figure;
  });
  find("#cost-panels").replaceChildren(...(panels.some(Boolean) ? panels.filter(Boolean) : [nothing("No finished run yet.")]));
}

function drawCurves() {
  const { cells = [], tasks = {}, models = {}, kinds = {} } = table() ?? {};
  const panels = Object.entries(tasks).map(([task, title]) => {
    const lines = cells
      .filter((cell) => cell.task === task)
      .flatMap((cell) => cell.runs.map((place) => ({ place, model: cell.model, record: data.records[place] })))
      .filter(({ record }) => record.curve.length > 1)
      .sort((a, b) => slotOf(a.model) - slotOf(b.model));
    if (!lines.length) return null;
    const points = lines.flatMap(({ record }) => record.curve);
    const { figure, picture, across, up, right } = frame({
      title,
      note: kinds[task],
      x: { low: 0, high: Math.max(...points.map(([x]) => x)), label: "share of the schedule (%)" },
      y: accuracies([lines[0].record.chance, ...points.map(([, y]) => y)]),
    });
    const chance = up(lines[0].record.chance);
    picture.append(svg("line", { class: "chance", x1: LEFT, x2: right, y1: chance, y2: chance }));
    for (const { place, model, record } of lines) {
      const slot = slotOf(model), d = path(record.curve, across, up), y = record.curve.at(-1)[1];
      const line = linked(
        [place],
        `${models[model]} on ${title}, seed ${record.seed}: validation accuracy ${fixed(y, 1)} % at the end`,
        curve(slot, record.curve, across, up),
        ...(slot < 0 ? [] : spread(record.curve).map(([x, y]) => mark(slot, across(x), up(y)))),
        svg("path", { class: "hit", d }),
      );
      tips.set(line, (event) => curveTip(models[model], record, event, picture, across));
      picture.append(line);
    }
    return figure;
  });
  find("#curve-panels").replaceChildren(...(panels.some(Boolean) ? panels.filter(Boolean) : [nothing("No learning curve yet.")]));
}

/** What a curve is at the pointer, or at its end where there is no pointer. */
function curveTip(name, record, event, picture, across) {
  let [share, accuracy] = record.curve.at(-1);
  if (event.clientX) {
    const box = picture.getBoundingClientRect(), x = ((event.clientX - box.left) * WIDTH) / box.width;
    const nearest = (a, b) => Math.abs(across(a[0]) - x) - Math.abs(across(b[0]) - x);
    [share, accuracy] = [...record.curve].sort(nearest)[0];
  }
  const test = record.test === null ? record.status : `test ${fixed(record.test)} %`;
  return [
    make("b", {}, `${name}, seed ${record.seed}`),
    `${fixed(accuracy)} % at ${+share.toPrecision(3)} % of the ${record.steps[2] ? "schedule" : "planned steps"}`, make("br"), test,
  ];
}

/** Lines with a label at the end of each: models by name, several lines of one model as its layers. */
function lineChart(options, lines) {
  const points = lines.flatMap((line) => line.points);
  const bounds = (place, axis) => {
    const [low, high] = extent(points.map((point) => point[place]).filter((value) => !axis.log || value > 0));
    const room = axis.log && place === 1 ? 1.25 : 1;
    return { low: low / room, high: high * room, ...axis };
  };
  const names = lines.length > 1 && lines.some(({ name }) => name);
  const right = (options.width ?? WIDTH) - (names ? 14 + 6.2 * Math.max(...lines.map(({ name }) => name.length)) : RIGHT);
  const chart = frame({ ...options, right, x: bounds(0, options.x), y: bounds(1, options.y) });
  const ends = [];
  for (const { name, points, slot, places } of lines) {
    const inside = points.filter(([x, y]) => (!options.x.log || x > 0) && (!options.y.log || y > 0) && !(y < options.y.low));
    if (!inside.length) continue;
    const line = [curve(slot, inside, chart.across, chart.up), svg("path", { class: "hit", d: path(inside, chart.across, chart.up) })];
    const drawn = places ? linked(places, name, ...line) : svg("g", {}, ...line);
    tips.set(drawn, () => [make("b", {}, name)]);
    chart.picture.append(drawn);
    const [x, y] = inside.at(-1);
    if (slot >= 0) spread(inside).forEach(([x, y]) => drawn.append(mark(slot, chart.across(x), chart.up(y))));
    ends.push({ x: chart.across(x), y: chart.up(y), text: name });
  }
  if (names) endLabels(ends, chart.picture, (options.height ?? HEIGHT) - BOTTOM);
  return chart.figure;
}

const rowsOf = (columns) => {
  const names = Object.keys(columns);
  return (columns[names[0]] ?? []).map((_, row) => Object.fromEntries(names.map((name) => [name, columns[name][row]])));
};

function grouped(rows, key) {
  const groups = new Map();
  for (const row of rows) groups.set(row[key], [...(groups.get(row[key]) ?? []), row]);
  return groups;
}

/** What is drawn of an analysis, by the columns of its table; the order is that of the page. */
const ANALYSES = [
  {
    columns: ["model", "real", "imaginary"],
    title: "Eigenvalues",
    text: "Eigenvalues of the discrete dynamics in the unit disk. The corner is the share of them with a modulus of at least 0.99; below stands the median of the time constants and, in parentheses, their middle 90 %. Eigenvalues close to the circle remember long.",
    draw: (rows, summary) => [...grouped(rows, "model")].map(([model, points]) => disk(model, points, summary.filter((row) => row.model === model))),
  },
  {
    columns: ["model", "back", "gradient"],
    title: "Memory",
    text: "Size of the gradient of the last output by the input k steps earlier, one line for each layer. The corner is the effective memory length: 90 % of the sum over all distances lies within it.",
    draw: memoryPanels,
  },
  {
    columns: ["time", "signal"],
    title: "HiPPO",
    text: "Relative error of the history of a signal that is reconstructed from the state, against the order.",
    size: "large",
    draw: (rows, summary) => [lineChart(
      { title: "Error of the reconstruction", ...LARGE(), x: { log: true, base: 2, label: "order (number of states)" }, y: { log: true } },
      [...grouped(summary, "matrix")].map(([name, points], slot) => ({ name, slot: slot % SLOTS, points: points.map((p) => [p.order, p.error]) })))],
  },
  {
    columns: ["system", "step", "distance"],
    title: "Damping",
    text: "Distance between the states of two sequences that differ in their first token, in a mass on a spring with a damper.",
    draw: (rows) => [...grouped(rows, "system")].map(([title, points]) => lineChart(
      { title, ...SMALL, x: { label: "step" }, y: { log: true, ...range(rows.map((row) => row.distance)), write: power } },
      [{ name: "", slot: -2, points: points.map((p) => [p.step, p.distance]) }])),
  },
];

/** The size of a large panel: on a telephone as wide as it is shown, so that its letters stay large. */
const LARGE = () => ({ width: innerWidth < 640 ? 340 : 500, height: 220 });

/** The size of a small panel. */
const SMALL = { width: 190, height: 150, left: 32 };

const range = (values) => ({ low: Math.min(...values), high: Math.max(...values) });

function drawAnalyses() {
  const parts = ANALYSES.flatMap(({ columns, title, text, size, draw }) =>
    Object.entries(data.analyses)
      .filter(([name, table]) => columns.every((column) => column in table) && `${name}-summary` in data.analyses)
      .flatMap(([name, table]) => [
        // A second analysis of the same kind has a name of its own.
        make("h3", {}, title, name === KNOWN[title] ? "" : `: ${name}`),
        make("p", {}, text),
        make("div", { class: `panels ${size ?? "small"}` }, ...draw(rowsOf(table), rowsOf(data.analyses[`${name}-summary`]))),
      ]));
  find("#analyses").replaceChildren(...(parts.length ? parts : [nothing("No analysis yet; ssm-bench analyze makes them.")]));
}

/** How `ssm-bench analyze` calls its tables unless it is told a name. */
const KNOWN = { Eigenvalues: "spectrum", Memory: "memory", HiPPO: "hippo", Damping: "damping" };

const rough = (value) => short(+value.toPrecision(2));

function disk(model, points, summary) {
  const size = 170, middle = size / 2, radius = 74;
  const at = (value, sign) => (middle + sign * radius * value).toFixed(1);
  const dots = points.filter((p) => Math.hypot(p.real, p.imaginary) < 1.12).map((p) => `M${at(p.real, 1)} ${at(p.imaginary, -1)}h0`).join("");
  const weight = summary.reduce((sum, row) => sum + row.eigenvalues, 0);
  const mean = (key) => summary.reduce((sum, row) => sum + row[key] * row.eigenvalues, 0) / weight;
  const close = weight ? `${Math.round(100 * mean("close"))} % ≥ 0.99` : "";
  const [layer] = summary;
  const steps = layer ? `${rough(layer.steps_50)} steps (${rough(layer.steps_05)} to ${rough(layer.steps_95)})` : "";
  return make("figure", {},
    make("figcaption", {}, model, make("small", {}, close)),
    svg("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": `Eigenvalues of ${model}: ${close}; ${steps}` },
      svg("path", { class: "grid", d: `M${middle - radius} ${middle}H${middle + radius}M${middle} ${middle - radius}V${middle + radius}` }),
      svg("circle", { class: "axis", cx: middle, cy: middle, r: radius, fill: "none" }),
      svg("path", { class: "spectrum", d: dots })),
    make("small", {}, steps));
}

function memoryPanels(rows, summary) {
  const largest = Math.max(...rows.map((row) => row.gradient ?? 0));
  const farthest = Math.max(...rows.map((row) => row.back)) + 1;
  return [...grouped(rows, "model")].map(([model, points]) => {
    const lengths = summary.filter((row) => row.model === model).map((row) => row.memory);
    return lineChart(
      { title: model, note: lengths.slice(0, 3).join(", "), ...SMALL,
        x: { log: true, low: 1, high: farthest, label: "1 + k" },
        y: { log: true, low: largest * 1e-7, high: largest * 3, write: power } },
      [...grouped(points, "layer")].map(([layer, line]) => ({
        name: "", slot: -2 - (layer % SLOTS),
        points: line.filter((p) => p.gradient > largest * 1e-7).map((p) => [p.back + 1, p.gradient]) })));
  });
}

/** One panel for each model: a row for each task, ours, the authors' code and the floor on one logarithmic axis. */
function drawSpeed() {
  const shown = data.steps.filter((step) => step.device === state.device);
  const titles = { ...Object.assign({}, ...data.tables.map(({ tasks }) => tasks)) };
  // Directions are named where a task has been timed with one and with two.
  const named = (step, steps) => [
    titles[step.task] ?? step.task,
    step.one_way && steps.some((other) => other.task === step.task && !other.one_way) ? "one way" : "",
    step.precision === "float32" ? "" : step.precision,
  ].filter(Boolean).join(" ");
  const panels = [...grouped(shown, "title")].map(([title, steps]) => {
    const order = Object.keys(titles);
    steps.sort((a, b) => order.indexOf(a.task) - order.indexOf(b.task) || b.precision.localeCompare(a.precision));
    const values = steps.flatMap((s) => [s.ms, s.floor, ...s.peers.map((p) => p.ms)]).filter(Boolean);
    const [low, high] = extent(values), height = TOP + BOTTOM + 20 * steps.length, left = 14 + 6 * Math.max(...steps.map((step) => named(step, steps).length));
    const chart = frame({ title, x: { low: low / 1.3, high: high * 1.3, log: true, label: "ms a step" }, y: { low: 1e9, high: 2e9, write: () => "" }, height, left });
    all(".grid, text[text-anchor=end]:not(:last-of-type)", chart.picture).forEach((line) => line.remove());
    steps.forEach((step, row) => {
      const y = TOP + 20 * row + 10, x = chart.across(step.ms);
      const ends = extent([step.ms, ...(step.floor ? [step.floor] : []), ...step.peers.map((p) => p.ms)].map(chart.across));
      const words = named(step, steps);
      chart.picture.append(
        svg("text", { x: left - 8, y: y + 3.5, "text-anchor": "end" }, words),
        svg("line", { class: "span", x1: ends[0], x2: ends[1], y1: y, y2: y }),
        step.floor ? svg("line", { class: "floor", x1: chart.across(step.floor), x2: chart.across(step.floor), y1: y - 5, y2: y + 5 }) : "",
        ...step.peers.map((other) => {
          const name = `${title} on ${words}, ${other.implementation}, ${other.precision}: ${short(other.ms)} ms`;
          const point = linked([other.record], name, colored(mark(0, chart.across(other.ms), y, true)));
          tips.set(point, () => [make("b", {}, other.implementation), `${short(other.ms)} ms a step, ${other.precision}`]);
          return point;
        }),
      );
      const point = linked([step.record], `${title} on ${words}: ${short(step.ms)} ms`, colored(mark(0, x, y)));
      const faster = step.peers.map((other) => `${fixed(other.ms / step.ms)} times faster than ${other.implementation}, ${other.precision}`);
      tips.set(point, () => [
        make("b", {}, `${title} on ${words}`), `${short(step.ms)} ms a step, ${step.precision}`,
        ...(step.floor ? [make("br"), `floor ${short(step.floor)} ms`] : []), ...faster.flatMap((line) => [make("br"), line]),
      ]);
      chart.picture.append(point);
    });
    return chart.figure;
  });
  find("#speed-panels").replaceChildren(...(panels.length ? panels : [nothing("No measured step on this device.")]));
}

/** A mark in the first color: there it means ours, or the authors' by being hollow. */
function colored(shape) {
  shape.classList.add("colored");
  shape.style.setProperty("--color", "var(--series-0)");
  return shape;
}

const ALONG = {
  length: { title: "A step against the length of its input", label: "length (tokens)" },
  stream: { title: "A token against its position in a stream", label: "position (tokens)" },
};

/** One panel for each benchmark and device; a model has one color in all of them. */
function drawAlong() {
  const binary = (value) => (value >= 2 ** 20 ? `${value / 2 ** 20}Mi` : value >= 1024 ? `${value / 1024}Ki` : `${value}`);
  const models = [...new Set(data.along.map((line) => line.title))].sort();
  const panels = Object.entries(ALONG).flatMap(([kind, { title, label }]) =>
    [...grouped(data.along.filter((line) => line.benchmark === kind && line.points.length > 1), "device")].map(([device, lines]) =>
      lineChart(
        { title, note: `${device}, ms`, ...LARGE(), left: 40, x: { log: true, base: 2, label, write: binary }, y: { log: true } },
        lines.map((line) => ({ name: line.title, points: line.points, slot: models.indexOf(line.title) % SLOTS, places: [line.record] })))));
  find("#along-panels").replaceChildren(...(panels.length ? panels : [nothing("No measurement yet; ssm-bench bench length and bench stream make them.")]));
}

// ----------------------------------------------------------------------------------------------------- models in color

function drawChips() {
  const models = { ...Object.assign({}, ...data.tables.map((one) => one.models)) };
  state.slots ??= Array.from({ length: SLOTS }, (_, place) => {
    const shown = table()?.cells.filter((cell) => cell.accuracy !== null).map((cell) => cell.model) ?? [];
    // One color is left for the reader to choose.
    return place < SLOTS - 1 ? (table()?.colored.filter((model) => shown.includes(model))[place] ?? null) : null;
  });
  state.slots = state.slots.map((model) => (model in models ? model : null));
  find("#chips").replaceChildren(...Object.entries(models).map(([model, title]) => {
    const slot = slotOf(model);
    const chip = make("button", { class: "chip", type: "button", "aria-pressed": slot >= 0, "data-model": model },
      svg("svg", { viewBox: "-7 -7 14 14", "aria-hidden": "true" }, mark(slot, 0, 0)), title);
    if (slot < 0 && !state.slots.includes(null)) {
      chip.disabled = true;
      chip.title = `${SLOTS} models are in color: remove one first`;
    }
    chip.addEventListener("click", () => {
      // A model keeps its color while others come and go.
      state.slots[slot < 0 ? state.slots.indexOf(null) : slot] = slot < 0 ? model : null;
      keep();
      drawChips();
      drawCost();
      drawCurves();
      find(`[data-model="${CSS.escape(model)}"].chip`)?.focus();
    });
    return chip;
  }));
  find("#colors").hidden = !Object.keys(models).length;
}

// ----------------------------------------------------------------------------------------------------------- tooltip

/** Element -> function of the event that returns what its tooltip says. */
const tips = new WeakMap();
const tip = find("#tip");

function showTip(element, event) {
  const say = tips.get(element) ?? (element.dataset.records ? () => recordTip(element.dataset.records.split(" ")) : null);
  if (!say) return;
  tip.replaceChildren(...say(event));
  tip.hidden = false;
  const box = element.getBoundingClientRect();
  const [x, y] = event.clientX ? [event.clientX, event.clientY] : [box.left + box.width / 2, box.bottom];
  tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${y + 16 + tip.offsetHeight > innerHeight ? Math.max(8, y - tip.offsetHeight - 12) : y + 16}px`;
}

/** The learning curves behind a number, and what else a reader asks first. */
function recordTip(places) {
  const records = places.map((place) => data.records[place]).filter(Boolean);
  if (!records.length) return [];
  const [first] = records;
  const lines = records.map((record) => (record.curve ?? [])).filter((points) => points.length > 1);
  const said = [make("b", {}, first.title)];
  if (first.kind === "speed") return [...said, first.implementation || "our code", make("br"), first.device];
  const part = first.share === null ? "" : first.share >= 1 ? "the full schedule · " : `${percent(first.share)} of the schedule · `;
  said.push(`${part}${duration(first.seconds)} on ${first.device}`);
  if (!lines.length) return said;
  const points = lines.flat(), left = 26;
  const { picture, across, up } = frame({
    title: "", width: 240, height: 120, left,
    x: { low: 0, high: Math.max(...points.map(([x]) => x)), label: "share of the schedule (%)" },
    y: accuracies([first.chance, ...points.map(([, y]) => y)]),
  });
  picture.append(
    svg("line", { class: "chance", x1: left, x2: 230, y1: up(first.chance), y2: up(first.chance) }),
    ...lines.map((line) => curve(0, line, across, up)),
  );
  return [...said, picture];
}

const target = (event) => (event.target instanceof Element ? event.target.closest("a, g") : null);
for (const kind of ["pointermove", "focusin"])
  document.addEventListener(kind, (event) => {
    const element = target(event);
    if (kind === "focusin" && element && !element.matches(":focus-visible")) return;
    if (element && !event.target.closest("dialog") && event.pointerType !== "touch") showTip(element, event);
    else tip.hidden = true;
  });
for (const kind of ["focusout", "scroll", "keydown"]) document.addEventListener(kind, () => { tip.hidden = true; }, true);

// ------------------------------------------------------------------------------------------------------ open a record

const dialog = find("#record");

function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return make("dl", { class: "facts" }, ...shown.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function settings(entries, caption) {
  if (!entries.length) return null;
  return make("details", { open: "" },
    make("summary", {}, `${caption} (${entries.length})`),
    make("table", { class: "settings" }, make("tbody", {}, ...entries.map(([name, ...values]) =>
      make("tr", {}, make("th", { scope: "row" }, name), ...values.map((value) => make("td", {}, value)))))));
}

const words = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** The main fields of one record; the link opens the whole of it where the page lies next to its records. */
function details(place) {
  const record = data.records[place], isRun = record.kind === "run";
  const versions = Object.entries(record.versions).map(([name, version]) => `${name} ${version}`).join(", ");
  const made = [
    ["Device", record.device + (record.shared ? ", shared with other runs: its times do not measure speed" : "")],
    ["Revision", record.revision + (record.dirty ? ", with changes" : "")],
    ["Versions", versions],
    ["Created", record.created],
    ["Record", make("a", { href: data.prefix + place }, `results/${place}`)],
  ];
  if (record.kind === "speed")
    return [
      facts([
        ["Code", record.implementation || "ssm_bench"],
        ["Sizes", Object.entries(record.sizes).map(([name, size]) => `${name} ${size}`).join(", ")],
        ["Runs", record.runs > 1 ? `the fastest of ${record.runs}` : null],
        ["Notes", record.notes.join("; ")],
        ...made,
      ]),
      settings(Object.entries(record.differences).map(([name, value]) => [name, words(value)]), "Settings that differ from the recipe"),
      settings(record.measurements.map(([metric, backend, shape, value]) =>
        [metric, [backend, shape.join("×")].filter(Boolean).join(" "), value === null ? "–" : value.toLocaleString("en", { maximumSignificantDigits: 6 })]), "Measurements"),
    ];
  const [done, planned, published] = record.steps, [identity, kind, checksum, ...notes] = record.data;
  const score = record.test === null ? record.status : `${fixed(record.test)} %`;
  const more = [record.test === null ? null : "test", record.at_chance ? "not significantly above chance" : null].filter(Boolean).join(", ");
  return [
    make("p", { class: "big" }, score, " ", make("small", {}, more)),
    record.message ? make("p", {}, record.message) : null,
    isRun && record.curve.length > 1 ? runCurve(record) : null,
    facts([
      ["Status", record.status],
      ["Validation", isRun && record.validation !== null ? `${fixed(record.validation)} %, best at step ${record.best_step.toLocaleString("en")}` : null],
      ["Seed", `${record.seed}`],
      ["Steps", `${done.toLocaleString("en")} of ${planned.toLocaleString("en")} planned` + (published ? `, ${published.toLocaleString("en")} published: ${percent(record.share)}` : "")],
      ["Preset, protocol", [record.preset, record.protocol].filter(Boolean).join(", ")],
      ["Data", [identity, kind, ...notes, `checksum ${checksum}`].join("; ")],
      ["Training time", duration(record.seconds)],
      ["Parameters", isRun ? record.parameters.toLocaleString("en") : null],
      ["State", isRun && record.state !== null ? `${record.state.toLocaleString("en")} numbers per sequence` : null],
      ["Peak memory", record.memory ? `${short(record.memory / 2 ** 30)} GiB` : null],
      ["Activations", record.precision],
      ["Notes", record.notes.join("; ")],
      ...made,
    ]),
    settings(Object.entries(record.differences).map(([name, value]) => [name, words(value)]), isRun ? "Settings that differ from the defaults" : "Arguments of the authors' code"),
  ];
}

function runCurve(record) {
  const scale = record.curve.at(-1)[0] / record.steps[0] || 1;
  const training = record.training.map(([step, accuracy]) => [step * (record.steps[0] ? record.curve.at(-1)[0] / (record.training.at(-1)?.[0] ?? record.steps[0]) : scale), accuracy]);
  return lineChart(
    { title: "Accuracy", note: "percent", ...LARGE(), x: { low: 0, label: "share of the schedule (%)" },
      y: accuracies([record.chance, ...record.curve.map(([, y]) => y), ...training.map(([, y]) => y)]) },
    [{ name: "validation", points: record.curve, slot: 0 }, ...(training.length > 1 ? [{ name: "training", points: training, slot: -1 }] : [])]);
}

/** The runs of one cell: their mean, then each seed, the first one unfolded. */
function seeds(places) {
  const cell = data.tables.flatMap(({ cells }) => cells).find(({ runs }) => runs.join() === places.join());
  const mean = cell && cell.accuracy !== null
    ? make("p", { class: "big" }, `${fixed(cell.accuracy)}${cell.interval === null ? "" : ` ± ${fixed(cell.interval)}`} %`, " ",
      make("small", {}, "test, mean over the finished seeds"))
    : null;
  return [mean, ...places.map((place, index) => {
    const { seed, test, status } = data.records[place];
    return make("details", { class: "seed", open: index ? null : "" },
      make("summary", {}, `Seed ${seed}: ${test === null ? status : `${fixed(test)} %`}`),
      ...details(place));
  })].filter(Boolean);
}

function openRecords(places) {
  const known = places.filter((place) => Object.hasOwn(data.records, place));
  if (!known.length) return false;
  const close = make("button", { class: "close", type: "button" }, "Close");
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(
    make("header", {}, make("h2", { id: "record-title" }, data.records[known[0]].title), close),
    ...(known.length === 1 ? details(known[0]).filter(Boolean) : seeds(known)),
  );
  tip.hidden = true;
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  return true;
}

// The address of an open record can be sent to somebody.
function openFromAddress() {
  const places = decodeURIComponent(location.hash).match(/^#record=(.*)$/)?.[1].split(",");
  if (!places) dialog.close();
  else openRecords(places);
}

document.addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a[data-records]") : null;
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  const places = link.dataset.records.split(" ");
  if (!places.some((place) => Object.hasOwn(data.records, place))) return;
  event.preventDefault();
  history.pushState(null, "", `#record=${places.join(",")}`);
  openFromAddress();
});
dialog.addEventListener("close", () => {
  if (location.hash.startsWith("#record=")) history.pushState(null, "", location.pathname + location.search);
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
addEventListener("hashchange", openFromAddress);
addEventListener("popstate", openFromAddress);

// --------------------------------------------------------------------------------------------------------- beginning

function showTable() {
  state.table = table()?.name ?? null;
  all(".table").forEach((box) => { box.hidden = box.dataset.table !== state.table; });
  if (find("#table-choice")) find("#table-choice").value = state.table;
}

showTable();
all(".table").forEach((box) => sortable(find("table", box), box.dataset.table));
for (const name of ["all-runs", "all-steps", "all-operations"]) {
  sortable(find(`#${name}`), name);
  filterable(find(`form[data-table=${name}]`), name, listFilter(find(`#${name}`)));
}
const again = filterable(find("#comparison-filters"), "comparison", ({ model, share }) => {
  const box = find(".table:not([hidden])");
  if (!box) return "";
  const rows = [...find("tbody", box).rows];
  for (const row of rows) {
    const cells = all("td[data-share]", row);
    cells.forEach((cell) => cell.classList.toggle("hidden", Number(cell.dataset.share) < Number(share)));
    const left = Number(share) === 0 || cells.some((cell) => !cell.classList.contains("hidden"));
    row.hidden = !(left && contains(row.cells[0].textContent, model.trim()));
  }
  return `${rows.filter((row) => !row.hidden).length} of ${rows.length} models`;
});
find("#table-choice")?.addEventListener("change", (event) => {
  state.table = event.target.value;
  keep();
  showTable();
  again();
  drawCost();
  drawCurves();
});
find("#measure").value = state.measure;
find("#measure").addEventListener("change", (event) => {
  state.measure = event.target.value;
  keep();
  drawCost();
});
const devices = [...new Set(data.steps.map((step) => step.device))];
// The device with the most comparisons first.
devices.sort((a, b) => data.steps.filter((s) => s.device === b && s.peers.length).length - data.steps.filter((s) => s.device === a && s.peers.length).length);
state.device = devices.includes(state.device) ? state.device : devices[0] ?? null;
find("#device").append(...devices.map((device) => make("option", { value: device }, device)));
find("#device").value = state.device;
find("#device").addEventListener("change", (event) => {
  state.device = event.target.value;
  keep();
  drawSpeed();
});
drawChips();
drawCost();
drawCurves();
drawAnalyses();
drawSpeed();
drawAlong();
openFromAddress();

// ---------------------------------------------------------------------------- a server renews the page while runs end

const fingerprint = find("meta[name=fingerprint]")?.content;
if (fingerprint) {
  const live = find("#live");
  live.textContent = "live";
  setInterval(async () => {
    try {
      const answer = await fetch("fingerprint", { cache: "no-store" });
      if (answer.ok && (await answer.text()) !== fingerprint) location.reload();
      live.textContent = "live";
    } catch {
      live.textContent = "";
    }
  }, 2000);
}
