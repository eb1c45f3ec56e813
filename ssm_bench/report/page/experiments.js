// Experiments: test accuracies of the records of a plan, each point linked to its runs.

const EXPERIMENTS = {
  probes: (rows) => accuracyPanels(severalSizes(rows), {
    column: "state_size", axis: { log: true, label: "state size (numbers per sequence)" },
    series: (row) => row.model, at: (row) => `${row.state_size.toLocaleString("en")} states`,
  }),
  locality: (rows) => accuracyPanels(rows, {
    column: "positions", axis: { log: true, base: 2, label: "positions seen at once, w", write: (value) => value.toLocaleString("en") },
    series: (row) => `${row.model}, ${row.limit}`, at: (row) => `w = ${row.positions.toLocaleString("en")}${row.unlimited ? ", no limit" : ""}`,
    hollow: (row) => row.unlimited,
  }),
  selectivity: (rows) => accuracyPanels(rows, {
    column: "steps", axis: { log: true, label: "initial time constant (steps)" },
    series: (row) => row.model, at: (row) => `initial time constant of ${short(row.steps)} steps`,
  }),
};

/** The rows of models that were trained with several state sizes on a task. */
function severalSizes(rows) {
  const sizes = (row) => rows.filter((other) => other.task === row.task && other.model === row.model && other.state_size);
  return rows.filter((row) => row.state_size && new Set(sizes(row).map((other) => other.state_size)).size > 1);
}

/** The mark of a series; gray when there are more series than marks. */
const slotAt = (place) => (place < SLOTS ? place : -1);

/**
 * Accuracy against a column, one panel for each task, one line for each series, below one legend.
 * `series` names the line of a row, `at` says where its point is, and `hollow` tells which marks are hollow.
 */
function accuracyPanels(rows, { column, axis, series, at, hollow = () => false }) {
  const drawn = rows.filter((row) => row[column] > 0 && row.accuracy !== null);
  const names = [...new Set(drawn.map(series))];
  if (!names.length) return [];
  const panels = [...grouped(drawn, "task")].map(([title, points]) => {
    const chance = points[0].chance, room = 1.25, [low, high] = extent(points.map((row) => row[column]));
    const { figure, picture, across, up, left, right } = frame({
      title,
      x: { ...axis, low: low / room, high: high * room },
      y: accuracies([chance, ...points.flatMap((row) => [row.accuracy - (row.half_width ?? 0), row.accuracy + (row.half_width ?? 0)])]),
    });
    picture.append(svg("line", { class: "chance", x1: left, x2: right, y1: up(chance), y2: up(chance) }));
    names.forEach((name, place) => {
      const slot = slotAt(place);
      const line = points.filter((row) => series(row) === name).sort((a, b) => a[column] - b[column]);
      if (line.length > 1) picture.append(curve(slot, line.map((row) => [row[column], row.accuracy]), across, up));
      for (const row of line) picture.append(accuracyPoint(row, `${name}: ${at(row)}`, slot, across(row[column]), up, hollow(row)));
    });
    return figure;
  });
  return [legend(names), ...panels];
}

/** The mark of one accuracy with its interval, linked to its runs where the page has them. */
function accuracyPoint(row, words, slot, x, up, hollow) {
  const interval = row.half_width ? ` ± ${fixed(row.half_width)}` : "", told = `${fixed(row.accuracy)}${interval} %`;
  const shapes = [
    row.half_width ? svg("path", {
      class: "whisker colored", style: colorOf(slot),
      d: `M${x} ${up(Math.max(0, row.accuracy - row.half_width))}V${up(Math.min(100, row.accuracy + row.half_width))}`,
    }) : null,
    mark(slot, x, up(row.accuracy), hollow),
    // A finger needs more room than a mark has.
    svg("circle", { class: "touch", cx: x, cy: up(row.accuracy), r: 11 }),
  ];
  const point = row.records?.length ? linked(row.records, `${words}, ${told}`, ...shapes) : svg("g", {}, ...shapes);
  tips.set(point, () => [make("b", {}, words), told, row.seeds > 1 ? `, ${row.seeds} seeds` : ""]);
  return point;
}

/** The marks of lines and their names, above panels that share them. */
function legend(names) {
  return make("ul", { class: "legend" }, ...names.map((name, place) =>
    make("li", {}, svg("svg", { viewBox: "-7 -7 14 14", "aria-hidden": "true" }, mark(slotAt(place), 0, 0)), name)));
}

/** The row of an experiment with these runs, or nothing. */
const experimentOf = (places) => Object.values(data.analyses).flatMap(rowsOf)
  .find((row) => "accuracy" in row && row.records?.join() === places.join());
