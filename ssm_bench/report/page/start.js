// Light and dark, then what the reader sees first.

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
all("table.experiment").forEach((table) => sortable(table, table.id));
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

// A server renews the page while runs end.

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
