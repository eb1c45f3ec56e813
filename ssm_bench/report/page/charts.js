// What every chart is drawn with: frames, marks, lines and labels, as SVG.

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

/** Direct labels: next to their marks, left out where they would cover another. */
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

/**
 * Lines with a label at the end of each: models by name, several lines of one model as its layers.
 * `dotted` lists vertical lines as [x, slot].
 */
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
  for (const [x, slot] of options.dotted ?? [])
    chart.picture.append(svg("path", { class: "dotted", d: `M${chart.across(x)} ${TOP}V${(options.height ?? HEIGHT) - BOTTOM}`, style: colorOf(slot) }));
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

/** The size of a large panel: on a telephone as wide as it is shown, so that its letters stay large. */
const LARGE = () => ({ width: innerWidth < 640 ? 340 : 500, height: 220 });

/** The size of a small panel. */
const SMALL = { width: 190, height: 150, left: 32 };

/** The rows of a table that the page holds by columns. */
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
