// Charts as SVG, and the choice of models in color.

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
 * An axis is {low, high, log, base, label, write}; a chart of rows has no y.
 */
function frame({ title, note, x, y, width = WIDTH, height = HEIGHT, left = LEFT, right = width - RIGHT }) {
  const scale = (axis, from, to) => {
    const turn = axis.log ? Math.log : (value) => value;
    const [low, high] = [turn(axis.low), turn(axis.high)];
    return (value) => from + ((to - from) * (turn(value) - low)) / (high - low || 1);
  };
  const across = scale(x, left, right), up = y ? scale(y, height - BOTTOM, TOP) : null;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": title });
  for (const value of !y ? [] : y.log ? logTicks(y.low, y.high) : ticks(y.low, y.high))
    picture.append(
      svg("line", { class: "grid", x1: left, x2: right, y1: up(value), y2: up(value) }),
      svg("text", { x: left - 6, y: up(value) + 3.5, "text-anchor": "end" }, (y.write ?? short)(value)),
    );
  picture.append(svg("line", { class: "axis", x1: left, x2: right, y1: height - BOTTOM, y2: height - BOTTOM }));
  for (const value of x.log ? logTicks(x.low, x.high, x.base) : ticks(x.low, x.high))
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
const extent = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
const range = (values) => ({ low: extent(values)[0], high: extent(values)[1] });

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
      x: { low: 0, high: extent(points.map(([x]) => x))[1], label: "share of the schedule (%)" },
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
    if (name) tips.set(drawn, () => [make("b", {}, name)]);
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
  for (const row of rows) {
    if (!groups.has(row[key])) groups.set(row[key], []);
    groups.get(row[key]).push(row);
  }
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
  const [, largest] = extent(rows.map((row) => row.gradient ?? 0));
  const farthest = extent(rows.map((row) => row.back))[1] + 1;
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
  const titles = Object.assign({}, ...data.tables.map(({ tasks }) => tasks)), order = Object.keys(titles);
  // Directions are named where a task has been timed with one and with two.
  const named = (step, steps) => [
    titles[step.task] ?? step.task,
    step.one_way && steps.some((other) => other.task === step.task && !other.one_way) ? "one way" : "",
    step.precision === "float32" ? "" : step.precision,
  ].filter(Boolean).join(" ");
  const timesOf = (step) => [step.ms, step.floor, ...step.peers.map((other) => other.ms)].filter(Boolean);
  const panels = [...grouped(data.steps.filter((step) => step.device === state.device), "title")].map(([title, steps]) => {
    steps.sort((a, b) => order.indexOf(a.task) - order.indexOf(b.task) || b.precision.localeCompare(a.precision));
    const [low, high] = extent(steps.flatMap(timesOf));
    const left = 14 + 6 * extent(steps.map((step) => named(step, steps).length))[1];
    const { figure, picture, across } = frame({
      title, left, height: TOP + BOTTOM + 20 * steps.length, x: { low: low / 1.3, high: high * 1.3, log: true, label: "ms a step" },
    });
    steps.forEach((step, row) => {
      const y = TOP + 20 * row + 10, what = `${title} on ${named(step, steps)}`;
      const [first, last] = extent(timesOf(step)).map(across);
      picture.append(
        svg("text", { x: left - 8, y: y + 3.5, "text-anchor": "end" }, named(step, steps)),
        svg("line", { class: "span", x1: first, x2: last, y1: y, y2: y }),
        step.floor ? svg("path", { class: "floor", d: `M${across(step.floor)} ${y - 5}v10` }) : "",
        ...step.peers.map((other) => timed(other, `${other.implementation}, ${what}`, across(other.ms), y, true, [])),
        timed(step, what, across(step.ms), y, false, [
          step.floor ? `floor ${short(step.floor)} ms` : "",
          ...step.peers.map((other) => `${fixed(other.ms / step.ms)} times faster than ${other.implementation}, ${other.precision}`),
        ]),
      );
    });
    return figure;
  });
  find("#speed-panels").replaceChildren(...(panels.length ? panels : [nothing("No measured step on this device.")]));
}

/** The mark of one measured step, with what its tooltip says; hollow is the authors' code. */
function timed({ ms, precision, record }, what, x, y, hollow, more) {
  const shape = mark(0, x, y, hollow), told = `${short(ms)} ms a step, ${precision}`;
  const point = linked([record], `${what}: ${told}`, shape);
  tips.set(point, () => [make("b", {}, what), told, ...more.filter(Boolean).flatMap((line) => [make("br"), line])]);
  return point;
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
