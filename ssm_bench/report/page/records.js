// Tooltips, and records in the page.

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
    x: { low: 0, high: extent(points.map(([x]) => x))[1], label: "share of the schedule (%)" },
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

function runCurve({ chance, curve, training }) {
  return lineChart(
    {
      title: "Accuracy", note: "percent", ...LARGE(), x: { low: 0, label: "share of the schedule (%)" },
      y: accuracies([chance, ...curve.map(([, y]) => y), ...training.map(([, y]) => y)]),
    },
    [{ name: "validation", points: curve, slot: 0 }, ...(training.length > 1 ? [{ name: "training", points: training, slot: -1 }] : [])]);
}

/** The runs of one cell: their mean, then each seed, the first one unfolded. */
function seeds(places) {
  const cell = data.tables.flatMap(({ cells }) => cells).find(({ runs }) => runs.join() === places.join()) ?? experimentOf(places);
  const interval = cell?.interval ?? cell?.half_width ?? null;
  const mean = cell && cell.accuracy !== null
    ? make("p", { class: "big" }, `${fixed(cell.accuracy)}${interval === null ? "" : ` ± ${fixed(interval)}`} %`, " ",
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
