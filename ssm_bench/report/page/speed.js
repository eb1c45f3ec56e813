// Measurements of speed as charts.

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
