"""The comparison table with its cells and notes, independent of the format; `render` writes it in all formats."""

import math
import statistics
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ssm_bench.data.dataset import PROTOCOLS
from ssm_bench.data.task import LRA
from ssm_bench.record import RunRecord, schema
from ssm_bench.record.schema import FAILURES
from ssm_bench.report import aggregate, layout, published
from ssm_bench.report.aggregate import Cell, DataIdentity, data_identity, majority_share

RANDOM = "random"
SINGLE_SEED = "†"
AT_CHANCE = "§"
AT_CHANCE_TEXT = "less than 2 standard errors above the accuracy of always answering the most common test label"
AVERAGE = "average"
AVERAGE_FAILURES_AS_CHANCE = "average_failures_as_chance"
MESSAGE_LENGTH = 140
CELLS, PROTOCOL, PUBLISHED, PEERS = "Cells", "Protocol", "Published", "Authors' code"
YOUNG = "Gray or italic"
YOUNG_TEXT = "less than a tenth of the published schedule was run; not highlighted"

#: (Model, task, checksum of the data) -> result of the authors' own code.
Peers = Mapping[tuple[str, str, str], "Peer"]


@dataclass(frozen=True)
class Peer:
    """The authors' own code, trained on the data of a cell.

    Attributes:
        accuracy: on the test set, in percent.
        share: share of the published schedule; None if no schedule is published.
        implementation: "owner/name@commit".
    """

    accuracy: float
    share: float | None
    implementation: str


@dataclass
class Entry:
    """The content of one cell of the table; accuracies are in percent, and missing values are None.

    Attributes:
        status: ok, partial, missing, or the failures joined by "/"; "derived" for a value that is not from a run.
        marks: letters of the notes, in order.
        rank: 1 for the best of its column, 2 for the second best, else None.
        young: whether less than a tenth of the published schedule was run; such an entry is gray and has no rank.
        peer: result of the authors' own code on the same data.
    """

    model: str
    task: str
    status: str
    accuracy: float | None = None
    interval: float | None = None
    seeds: int = 0
    seeds_finished: int = 0
    published: float | None = None
    published_failed: bool = False
    difference: float | None = None
    share: float | None = None
    cell: Cell | None = None
    marks: list[str] = field(default_factory=list)
    rank: int | None = None
    young: bool = False
    peer: Peer | None = None


@dataclass
class Table:
    """One table: all runs of published recipes, or of another preset, under one protocol.

    Attributes:
        kind: "table", a preset, or a suite and a preset (`layout.table_of`).
        tasks: name -> title of every task column.
        rows: model name -> title of every row, "random" first.
        entries: (model, task) -> entry; the two averages are columns too.
        heads: task -> marks of its column head.
        notes: notes on the whole table, (subject, text).
        footnotes: mark -> text, in the order of the marks.
    """

    kind: str
    protocol: str
    tasks: dict[str, str]
    rows: dict[str, str]
    entries: dict[tuple[str, str], Entry]
    heads: dict[str, list[str]]
    notes: list[tuple[str, str]]
    footnotes: dict[str, str]
    records: list[RunRecord]

    @property
    def name(self) -> str:
        """The name of its files."""
        return f"{self.kind}-{self.protocol}"

    @property
    def suite(self) -> str:
        """The suite of its tasks."""
        return self.records[0].task.suite if self.records else LRA

    @property
    def title(self) -> str:
        """The title above the table."""
        name = "Long Range Arena" if self.suite == LRA else f"Suite {self.suite}"
        return f"{name}, protocol {self.protocol} · {layout.preset_title(self.preset)}"

    @property
    def preset(self) -> str:
        """Its kind without the suite: "table" or a preset."""
        return self.kind.removeprefix(f"{self.suite}-")

    def column(self, name: str) -> list[Entry]:
        """The entries of one column, in the order of the models; without the random row."""
        return [self.entries[model, name] for model in self.rows if model != RANDOM]

    def cells(self, name: str) -> list[tuple[Entry, Cell]]:
        """The entries of one column that show runs, with their cells."""
        return [(entry, entry.cell) for entry in self.column(name) if entry.cell]

    def mark(self, marks: list[str], text: str) -> None:
        """Adds the mark of a footnote to `marks`; footnotes with the same text share one mark."""
        letter = next((mark for mark, known in self.footnotes.items() if known == text), None)
        if letter is None:
            letter = _letters(len(self.footnotes))
            self.footnotes[letter] = text
        if letter not in marks:
            marks.append(letter)

    @property
    def columns(self) -> dict[str, str]:
        """Name and title of every column except that of the models; averages need the six tasks."""
        averages = {AVERAGE: "Average", AVERAGE_FAILURES_AS_CHANCE: "Average, failure = chance"}
        return self.tasks | (averages if set(layout.TASKS) <= set(self.tasks) else {})


def names(records: Iterable[RunRecord]) -> list[tuple[str, str]]:
    """(preset, protocol) of all records."""
    return sorted({(record.preset, record.protocol) for record in records})


def kinds(records: Iterable[RunRecord]) -> list[tuple[str, str]]:
    """(kind, protocol) of every table of the records."""
    return sorted({(layout.table_with(record), record.protocol) for record in records})


def build(
    records: Iterable[RunRecord], kind: str, protocol: str, *, titles: Sequence[str] = (), peers: Peers | None = None
) -> Table:
    """Builds one table; records of other tables are left out.

    Args:
        records: records of runs.
        kind: "table", which shows the presets `layout.COMBINED`, another preset, or a suite and a preset.
        protocol: strict, paper or lra.
        titles: the rows in order, with or without records; empty: every model in the records.
        peers: results of the authors' own code.
    """
    records = [r for r in records if (layout.table_with(r), r.protocol) == (kind, protocol)]
    models = layout.models(records)
    if titles:
        found = {title: model for model, title in models.items()}
        models = {found.get(title, title): title for title in titles}
        records = [record for record in records if record.model.name in models]
    tasks = layout.tasks(records)
    if kind != layout.TABLE:
        # Only the comparison table shows what is missing.
        tasks = {task: title for task, title in tasks.items() if any(run.task.name == task for run in records)}
    cells = aggregate.cells(records)
    entries = {
        (model, task): _entry(model, task, cells.get((model, task)), peers or {}) for model in models for task in tasks
    } | _averages(models, cells)
    if kind == layout.TABLE:
        _add_published(entries, models, cells)
    entries |= {(RANDOM, column): entry for column, entry in _random(cells, tasks).items()}
    table = Table(
        kind=kind,
        protocol=protocol,
        tasks=tasks,
        rows={RANDOM: "Random"} | models,
        entries=entries,
        heads={task: [] for task in tasks},
        notes=[],
        footnotes={},
        records=records,
    )
    # A column with several data sets is not ranked, nor is an average over such a column. Different truncation or
    # vocabularies are only marked.
    mixed = [task for task in tasks if len({data_identity(cell.runs[0])[:2] for _, cell in table.cells(task)}) > 1]
    for column in table.columns:
        if column not in mixed and not (column not in tasks and set(mixed) & set(layout.TASKS)):
            _rank(table.column(column))
    _annotate(table)
    return table


def _letters(index: int) -> str:
    """a to z, then aa, ab, ..."""
    more, last = divmod(index, len(string.ascii_lowercase))
    return (_letters(more - 1) if more else "") + string.ascii_lowercase[last]


def _entry(model: str, task: str, cell: Cell | None, peers: Peers) -> Entry:
    if cell is None:
        return Entry(model, task, "missing")
    entry = Entry(
        model,
        task,
        cell.status,
        seeds=len(cell.runs),
        seeds_finished=len(cell.finished),
        share=cell.share,
        cell=cell,
        young=cell.young,
        peer=peers.get((model, task, cell.runs[0].data.checksum)),
    )
    if cell.accuracy:
        entry.accuracy, entry.interval = cell.accuracy
    if value := _published(cell.runs[-1]):
        entry.published, entry.published_failed = value.accuracy, value.failed
        if entry.accuracy is not None and value.accuracy is not None and _comparable(cell):
            entry.difference = round(entry.accuracy, 2) - value.accuracy
    return entry


def _add_published(
    entries: dict[tuple[str, str], Entry], models: Mapping[str, str], cells: Mapping[tuple[str, str], Cell]
) -> None:
    """Adds the published value of the row to cells without runs."""
    for model, title in models.items():
        references = {
            (run.model.published.row, run.model.published.source)
            for (of, _), cell in cells.items()
            for run in cell.runs
            if of == model and run.model.published
        }
        row = layout.TABLE_TWO.get(title, "")
        reference = min(references, default=(row, layout.TABLE_TWO_SOURCE))
        for task in layout.TASKS:
            entry = entries[model, task]
            if entry.cell is None and (value := published.lookup(*reference, task)):
                entry.published, entry.published_failed = value.accuracy, value.failed


def _reference(run: RunRecord) -> schema.Published | None:
    """The published row to compare a run with; None for toy sizes."""
    return None if run.preset in layout.TOYS else run.model.published


def _published(run: RunRecord) -> published.PublishedValue | None:
    """The published value to compare a run with."""
    reference = _reference(run)
    return published.lookup(reference.row, reference.source, run.task.name) if reference else None


def _comparable(cell: Cell) -> bool:
    """Whether a run can be compared with published values, unlike toy sizes and synthetic data."""
    return all(run.preset not in layout.TOYS and run.data.kind != "synthetic" for run in cell.runs)


def _averages(models: Iterable[str], cells: dict[tuple[str, str], Cell]) -> dict[tuple[str, str], Entry]:
    kinds: dict[str, Callable[[dict[str, Cell]], float | None]] = {
        AVERAGE: aggregate.average,
        AVERAGE_FAILURES_AS_CHANCE: aggregate.average_failures_as_chance,
    }
    entries = {}
    for model in models:
        row = {task: cell for (of, task), cell in cells.items() if of == model}
        for column, mean in kinds.items():
            value = mean(row)
            young = any(cell.young for cell in row.values())
            status = "missing" if value is None else "ok"
            entries[model, column] = Entry(model, column, status, accuracy=value, young=young and value is not None)
    return entries


def _random(cells: dict[tuple[str, str], Cell], tasks: Iterable[str]) -> dict[str, Entry]:
    """The derived row `Random`: 100 / classes of each recorded task."""
    row = {task: Entry(RANDOM, task, "missing") for task in (*tasks, AVERAGE, AVERAGE_FAILURES_AS_CHANCE)}
    for (_, task), cell in cells.items():
        row[task] = Entry(RANDOM, task, "derived", accuracy=100 / cell.runs[0].task.classes)
    scores = [row[task].accuracy if task in row else None for task in layout.TASKS]
    if all(score is not None for score in scores):
        mean = statistics.fmean(score for score in scores if score is not None)
        for column in (AVERAGE, AVERAGE_FAILURES_AS_CHANCE):
            row[column] = Entry(RANDOM, column, "derived", accuracy=mean)
    return row


def _rank(column: list[Entry]) -> None:
    """Ranks the best and the second best of a column by the printed numbers.

    Gray entries have no rank, but they count: if a gray entry is better than the best of the others, that one has no
    rank either. A column with fewer than two different values that are not gray has no ranks.
    """
    printed = [(entry, round(entry.accuracy, 2)) for entry in column if entry.accuracy is not None]
    ordered = sorted({accuracy for _, accuracy in printed}, reverse=True)
    ranked = [(entry, accuracy) for entry, accuracy in printed if not entry.young]
    for entry, accuracy in ranked if len({accuracy for _, accuracy in ranked}) > 1 else ():
        if accuracy in ordered[:2]:
            entry.rank = 1 + ordered.index(accuracy)


def _annotate(table: Table) -> None:
    """Adds the required notes to column heads and entries."""
    official = []
    for task, title in table.tasks.items():
        column = table.cells(task)
        seen = [data_identity(cell.runs[0]) for _, cell in column]
        texts = [_data_text(data, seen) for data in seen]
        if len(set(texts)) > 1:
            for (entry, _), text in zip(column, texts, strict=True):
                table.mark(entry.marks, f"{title} data: {text}")
        elif seen and seen[0].kind == "official" and not seen[0].notes:
            official.append(f"{title}: {texts[0]}")
        elif seen:
            table.mark(table.heads[task], f"{title} data: {texts[0]}")
    for (model, task), entry in table.entries.items():
        if entry.cell:
            if text := _precision_text(entry.cell.runs[0]):
                table.mark(entry.marks, f"{text}; states and weights are float32")
            for text in _cell_notes(entry.cell):
                table.mark(entry.marks, f"{table.rows[model]} on {table.tasks[task]}: {text}")
            for text in _published_notes(entry.cell):
                table.mark(entry.marks, f"{table.rows[model]}, {text}")
            if entry.seeds_finished == 1:
                entry.marks.append(SINGLE_SEED)
            if entry.cell.finished and all(map(aggregate.at_chance, entry.cell.finished)):
                entry.marks.append(AT_CHANCE)
    table.notes = list(_table_notes(table, official))


def _data_text(data: DataIdentity, seen: list[DataIdentity]) -> str:
    """The description of a data set, with its checksum if several data sets of the column have the same name."""
    namesakes = {other for other in seen if other._replace(checksum="") == data._replace(checksum="")}
    known_as = data.identity if data.identity == data.kind else f"{data.identity}, {data.kind}"
    text = "; ".join((known_as, *data.notes))
    return f"{text}; checksum {data.checksum[:12]}" if len(namesakes) > 1 else text


def _precision_text(run: RunRecord) -> str:
    """The note on activations that are not float32, and on operations with less precision than configured."""
    asked = ["bfloat16 activations"] if aggregate.precision(run) == "bf16" else []
    return ", ".join([*asked, *(f"{name} in {dtype}" for name, dtype in sorted(run.computed.items()))])


def _cell_notes(cell: Cell) -> Iterator[str]:
    # Toy runs do not have a share of a published schedule either, but the title of their table states this.
    if any(run.preset in layout.FREE and not run.steps.published for run in cell.runs):
        yield "no published recipe; the defaults of the model"
    if settings := aggregate.changed(cell.runs[0]):
        yield f"changed settings: {settings}"
    for run in (*cell.failed, *cell.unfinished):
        message = " ".join(run.message.split())
        if len(message) > MESSAGE_LENGTH:
            message = message[:MESSAGE_LENGTH].rstrip() + "…"
        steps = f"seed {run.seed} {run.status} after {run.steps.done} of {run.steps.planned} steps"
        # The message of an interrupted run only states its progress.
        waits = run.status == "partial" and run.steps.done < run.steps.planned
        yield f"{steps}: {message}" if message and not waits else steps
    # Notes mention failed runs; the list of runs contains the other runs that no cell shows.
    for run in cell.others:
        if run.status in FAILURES:
            yield f"another run failed: {run.preset}, seed {run.seed}, {run.status} after {run.steps.done} steps"


def _published_notes(cell: Cell) -> Iterator[str]:
    run = cell.runs[-1]
    reference = run.model.published
    if reference and not published.known(reference.row, reference.source):
        yield f"published: no row {reference.row!r} is known from {reference.source!r}"
    elif value := _published(run):
        yield from (f"published on {run.task.title}: {note}" for note in published.own_notes(value))


def _table_notes(table: Table, official: list[str]) -> Iterator[tuple[str, str]]:
    compared = "then the published value and, in parentheses, the difference (none for synthetic data); "
    compared = "" if table.preset in layout.TOYS else compared
    yield (
        CELLS,
        f"test accuracy in percent, mean ± 95 % t-interval over the finished seeds; {compared}then n, the number of "
        "finished seeds, and the share of the published schedule. Of several runs a cell shows those without changed "
        "settings, then those with the largest share, then those with the most seeds, then the most recent. The best "
        "two values of a column are highlighted.",
    )
    if any(entry.young for entry in table.entries.values()):
        yield YOUNG, f"{YOUNG_TEXT}."
    yield PROTOCOL, f"{table.protocol}: {PROTOCOLS.get(table.protocol, 'see the records')}."
    for preset in layout.FREE:
        if any(run.preset == preset for run in table.records):
            what = f"a {preset} run may change any setting of its model's recipe; its record holds all of them."
            yield "Settings", what
    majority = [
        f"{title} {'/'.join(shares)}"
        for task, title in table.tasks.items()
        if (
            shares := sorted(
                {f"{m:.2f}" for e in table.column(task) if e.cell and (m := majority_share(e.cell.runs[0]))}
            )
        )
    ]
    more = f" Always answering the most common test label would score: {', '.join(majority)}." if majority else ""
    yield "Random", f"100 / classes.{more}"
    if official:
        yield "Data", "; ".join(official) + "."
    if sources := _sources(table):
        yield PUBLISHED, "; ".join(sources) + "."
    if codes := sorted({entry.peer.implementation for entry in table.entries.values() if entry.peer}):
        yield PEERS, f"{', '.join(codes)}, trained with their own step and schedule on our data; not ranked."
    if AVERAGE in table.columns:
        yield (
            "Averages",
            "over the six tasks, only where every one has an accuracy and no failed seed; the second average counts a "
            "failed seed as chance, as the published tables do.",
        )
    shown = [run for entry in table.entries.values() if entry.cell for run in entry.cell.runs]
    devices = sorted({f"{run.device.count} x {run.device.kind}" for run in shown})
    if devices:
        yield "Devices", ", ".join(devices) + "."
    if dirty := sum(run.revision.dirty for run in shown):
        yield "Code", f"{dirty} of {len(shown)} runs were made with uncommitted changes."
    if any(SINGLE_SEED in entry.marks for entry in table.entries.values()):
        yield SINGLE_SEED, "one seed, so there is no interval."
    if any(AT_CHANCE in entry.marks for entry in table.entries.values()):
        yield AT_CHANCE, f"{AT_CHANCE_TEXT}."


def _sources(table: Table) -> list[str]:
    """For every published row in the table: its model, its source, and the notes of the whole row."""
    found = {}
    for (model, _), entry in table.entries.items():
        reference = _reference(entry.cell.runs[-1]) if entry.cell else None
        if reference and published.known(reference.row, reference.source):
            notes = published.row_notes(reference.row, reference.source)
            found[table.rows[model]] = ", ".join((reference.source, *notes))
    return [f"{title}: {source}" for title, source in found.items()]


def percent(fraction: float | None) -> str:
    """A share as text, rounded down so that an unfinished run never shows 100 %; "?" if it is unknown."""
    if fraction is None:
        return "?"
    if fraction == 0:
        return "0 %"
    exact = 100 * fraction
    # 1e-9: because of binary rounding, a share such as 0.29 would otherwise become 28 %.
    return f"{math.floor(exact + 1e-9)} %" if exact >= 10 else f"{math.floor(10 * exact + 1e-9) / 10:.1f} %"
