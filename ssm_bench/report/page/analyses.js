// Properties of models and of linear systems, from the tables of ssm-bench analyze.

const PROPERTIES = {
  spectrum: (rows, summary) => [
    ...beforeAndAfter(grouped(rows, "model")).map(([model, points]) => disk(model, points, summary.filter((row) => row.model === model))),
    timeConstants(beforeAndAfter(grouped(summary, "model"))),
  ],
  memory: memoryPanels,
  hippo: (rows, summary) => [
    ...signals(rows),
    large(lineChart(
      { title: "Error of the reconstruction", ...LARGE(), x: { log: true, base: 2, label: "order (number of states)" }, y: { log: true } },
      [...grouped(summary, "matrix")].map(([name, points], slot) => ({ name, slot: slot % SLOTS, points: points.map((p) => [p.order, p.error]) })))),
  ],
  views: (rows, summary) => [
    ...signals(rows),
    large(lineChart(
      { title: "Relative differences", ...LARGE(), left: 40, x: { log: true, label: "step dt" }, y: { log: true, write: power } },
      Object.entries(VIEWS).map(([column, name], slot) => ({
        name, slot, points: summary.map((row) => [row.dt, row[column]]).sort(([a], [b]) => a - b) })))),
  ],
  damping: (rows, summary) => [...grouped(rows, "system")].map(([title, points]) => lineChart(
    {
      title, note: fixed(extent(summary.filter((row) => row.system === title).map((row) => row.modulus))[1], 3), ...SMALL,
      x: { label: "step" }, y: { log: true, ...range(rows.map((row) => row.distance)), write: power },
    },
    [{ name: "", slot: -2, points: points.map((p) => [p.step, p.distance]) }])),
};

/** Columns of the differences between views, and what they compare. */
const VIEWS = { bilinear: "bilinear", recurrent: "recurrence", convolutional: "convolution" };

function drawAnalyses() {
  const draw = { ...PROPERTIES, ...EXPERIMENTS };
  for (const box of all("[data-kind]")) {
    const { kind, analysis } = box.dataset;
    box.replaceChildren(...draw[kind](rowsOf(data.analyses[analysis]), rowsOf(data.analyses[`${analysis}-summary`] ?? {})));
  }
}

/** Makes a panel as wide as a row of small ones allows. */
function large(figure) {
  figure.classList.add("large");
  return figure;
}

const rough = (value) => (value === null ? "∞" : short(+value.toPrecision(2)));

/** What the title of a trained model ends in. */
const TRAINED = ", trained";
const untrained = (model) => model.replace(TRAINED, "");

/** Models in their order, each with its trained form, if there is one, right after it. */
function beforeAndAfter(groups) {
  const order = [...new Set([...groups.keys()].map(untrained))];
  return [...groups].sort(([a], [b]) => order.indexOf(untrained(a)) - order.indexOf(untrained(b)) || a.length - b.length);
}

function disk(model, points, summary) {
  const size = 170, middle = size / 2, radius = 74;
  const at = (value, sign) => (middle + sign * radius * value).toFixed(1);
  const dots = points.filter((p) => Math.hypot(p.real, p.imaginary) < 1.12).map((p) => `M${at(p.real, 1)} ${at(p.imaginary, -1)}h0`).join("");
  const weight = summary.reduce((sum, row) => sum + row.eigenvalues, 0);
  const share = summary.reduce((sum, row) => sum + row.close * row.eigenvalues, 0) / weight;
  const close = weight ? `${Math.round(100 * share)} %` : "";
  // A trained model leads to the record of its training.
  const places = summary[0]?.records ?? [];
  const name = places.length ? make("a", { href: data.prefix + places[0], "data-records": places.join(" ") }, model) : model;
  return make("figure", {},
    make("figcaption", {}, name, make("small", {}, close)),
    svg("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": `Eigenvalues of ${model}: ${close} with a modulus from 0.99 to 1` },
      svg("path", { class: "grid", d: `M${middle - radius} ${middle}H${middle + radius}M${middle} ${middle - radius}V${middle + radius}` }),
      svg("circle", { class: "axis", cx: middle, cy: middle, r: radius, fill: "none" }),
      svg("path", { class: points.length < 200 ? "spectrum few" : "spectrum", d: dots, style: colorOf(model.endsWith(TRAINED) ? 1 : 0) })));
}

/** Time constants of all models on one axis, a row for each layer: the median, and a bar over the middle 90 %. */
function timeConstants(models) {
  const rows = models.flatMap(([model, layers]) =>
    layers.map((layer) => ({ ...layer, name: layers.length > 1 ? `${model}, layer ${layer.layer}` : model })));
  const [low, high] = extent(rows.flatMap((row) => [row.steps_05, row.steps_50, row.steps_95]).filter((steps) => steps > 0));
  const left = 14 + 6 * extent(rows.map(({ name }) => name.length))[1], step = 22;
  const { figure, picture, across, right } = frame({
    title: "Time constants", ...LARGE(), left, height: TOP + BOTTOM + step * rows.length,
    x: { low: low / 1.5, high: high * 1.5, log: true, label: "steps" },
  });
  // What is 0, infinite or missing lies at the end of the axis.
  const place = (steps, end) => (steps > 0 ? across(steps) : end);
  rows.forEach((row, k) => {
    const y = TOP + step * k + step / 2, slot = row.model.endsWith(TRAINED) ? 1 : 0;
    const told = `${rough(row.steps_50)} steps, the middle 90 % ${rough(row.steps_05)} to ${rough(row.steps_95)}`;
    const bar = svg("g", { role: "img", "aria-label": `${row.name}: ${told}` },
      svg("line", { class: "whisker colored", x1: place(row.steps_05, left), x2: place(row.steps_95, right), y1: y, y2: y, style: colorOf(slot) }),
      mark(slot, place(row.steps_50, right), y));
    tips.set(bar, () => [make("b", {}, row.name), told]);
    picture.append(svg("text", { x: left - 8, y: y + 3.5, "text-anchor": "end" }, row.name), bar);
  });
  return large(figure);
}

function memoryPanels(rows, summary) {
  const [, largest] = extent(rows.map((row) => row.gradient ?? 0));
  const farthest = extent(rows.map((row) => row.back))[1] + 1;
  return [...grouped(rows, "model")].map(([model, points]) => {
    const lengths = summary.filter((row) => row.model === model);
    return lineChart(
      { title: model, note: lengths.slice(0, 3).map((row) => row.memory).join(", ") + (lengths.length > 3 ? ", …" : ""), ...SMALL,
        x: { log: true, low: 1, high: farthest, label: "1 + k" },
        y: { log: true, low: largest * 1e-7, high: largest * 3, write: power },
        dotted: lengths.map((row) => [row.memory + 1, -2 - (row.layer % SLOTS)]) },
      [...grouped(points, "layer")].map(([layer, line]) => ({
        name: "", slot: -2 - (layer % SLOTS),
        points: line.filter((p) => p.gradient > largest * 1e-7).map((p) => [p.back + 1, p.gradient]) })));
  });
}

/** A panel for each column next to time and signal: the signal in gray, the column in color. */
function signals(rows) {
  const names = Object.keys(rows[0] ?? {}).filter((name) => name !== "time" && name !== "signal");
  const [low, high] = extent(rows.flatMap((row) => names.concat("signal").map((name) => row[name])));
  const line = (name) => rows.map((row) => [row.time, row[name]]);
  return names.map((title) => lineChart(
    { title, ...SMALL, x: { label: "time" }, y: { low, high } },
    [{ name: "", slot: -1, points: line("signal") }, { name: "", slot: -2, points: line(title) }]));
}
