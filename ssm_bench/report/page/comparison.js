// The comparison table as charts: accuracy against cost, learning curves, and the choice of models in color.

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
