"""The tables of the page as HTML, which the script then sorts and filters; every number leads to its record."""

import math
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import quote

from ssm_bench.record import RunRecord
from ssm_bench.report import layout, speed
from ssm_bench.report.aggregate import share
from ssm_bench.report.model_table import short
from ssm_bench.report.page import content
from ssm_bench.report.page.content import Results
from ssm_bench.report.page.elements import Html, element, join
from ssm_bench.report.render import accuracy_text, published_text, share_text
from ssm_bench.report.table import RANDOM, Entry, Table, percent

#: From the page to the folder of results, "" for a page in that folder; ends in "/" where it is not empty.
Prefix = str


def link(text: str, places: Sequence[str], prefix: Prefix, label: str | None = None) -> Html:
    """A number that leads to its record; the script opens all of `places` in the page instead."""
    return element("a", text, href=quote(prefix) + quote(places[0]), data_records=" ".join(places), aria_label=label)


def comparison(table: Table, results: Results, prefix: Prefix) -> Html:
    """One comparison table with its notes, as a figure that the script shows or hides."""
    columns = table.columns
    heads = [head("Model", "text")] + [
        head(title, "number", below=_data_kind(table, name)) for name, title in columns.items()
    ]
    rows = [
        element(
            "tr",
            element("th", title, scope="row", data_model=model),
            *(_cell(table.entries[model, column], table, results, prefix) for column in columns),
            data_model=model,
        )
        for model, title in table.rows.items()
        if model != RANDOM
    ]
    random = element(
        "tr",
        element("th", "Random guess", scope="row"),
        *(_derived(table.entries[RANDOM, column]) for column in columns),
    )
    notes = [element("li", element("b", subject), f" {text}") for subject, text in table.notes]
    notes += [element("li", element("sup", mark), f" {text}") for mark, text in table.footnotes.items()]
    return element(
        "div",
        sortable(table.title, heads, rows, class_="comparison", foot=random),
        element("details", element("summary", "Notes on the numbers"), element("ul", *notes)),
        class_="table",
        id=f"table-{table.name}",
        data_table=table.name,
    )


def _data_kind(table: Table, name: str) -> str:
    """What a head says of data that are not the official ones, and the marks of its notes."""
    kinds = sorted({cell.runs[0].data.kind for _, cell in table.cells(name)}) if name in table.tasks else []
    return "" if kinds in ([], ["official"]) else "/".join(kinds)


def _cell(entry: Entry, table: Table, results: Results, prefix: Prefix) -> Html:
    if entry.cell is None:
        return _derived(entry)
    runs = entry.cell.runs
    where = f"{table.rows[entry.model]} on {table.tasks[entry.task]}"
    interval = "" if entry.interval is None else f" ± {entry.interval:.2f}"
    number = link(accuracy_text(entry), [content.run_place(run) for run in runs], prefix, f"{where}: record")
    marks = element("sup", ",".join(entry.marks), title=_explained(entry, table)) if entry.marks else Html("")
    lines = [element("small", *_effort(entry, prefix))]
    if entry.published is not None or entry.published_failed:
        lines.append(element("small", "pub. " + published_text(entry)))
    record = results.peers.get((entry.model, entry.task, runs[0].data.checksum))
    if entry.peer and record:
        theirs = link(f"{entry.peer.accuracy:.2f}", [content.peer_place(record)], prefix)
        lines.append(element("small", "authors’ code ", theirs, f", {share_text(entry.peer.share)}"))
    part = entry.share
    if part is not None:
        lines.append(element("i", class_="share", style=f"--share:{min(100, 100 * part):.3g}%", aria_hidden="true"))
    classes = [f"rank{entry.rank}"] if entry.rank else []
    classes += ["young"] if entry.young else []
    classes += [] if entry.accuracy is not None else ["failed"]
    return element(
        "td",
        element("span", number, interval, marks, class_="number"),
        *lines,
        class_=" ".join(classes) or None,
        data_value="" if entry.accuracy is None else f"{entry.accuracy:.4f}",
        data_share=None if part is None else f"{part:.4f}",
    )


def _effort(entry: Entry, prefix: Prefix) -> list[str]:
    """The share of the schedule and the number of seeds; of several seeds each has a link of its own."""
    assert entry.cell
    told = [] if entry.share is None else [share_text(entry.share), ", "]
    if len(entry.cell.runs) == 1:
        return [*told, "n = 1"]
    seeds = [link(f"{run.seed}", [content.run_place(run)], prefix, f"seed {run.seed}") for run in entry.cell.runs]
    return [*told, "seeds", *(part for seed in seeds for part in (" ", seed))]


def _explained(entry: Entry, table: Table) -> str:
    """What the marks of a cell mean."""
    notes = table.footnotes | dict(table.notes)
    return "; ".join(notes.get(mark, "").rstrip(".") for mark in entry.marks)


def _derived(entry: Entry) -> Html:
    """A cell without a run: a derived number, the published value alone, or nothing."""
    if entry.accuracy is not None:
        value = f"{entry.accuracy:.4f}"
        return element("td", element("span", f"{entry.accuracy:.2f}", class_="number derived"), data_value=value)
    if entry.published is not None or entry.published_failed:
        return element("td", element("small", "pub. " + published_text(entry)), class_="empty", data_value="")
    return element("td", class_="empty", data_value="")


def runs(results: Results, prefix: Prefix) -> Html:
    """Every run, one line each."""
    shown = {
        content.run_place(run)
        for table in results.tables
        for entry in table.entries.values()
        if entry.cell
        for run in entry.cell.runs
    }
    kinds = {
        **{"Model": "text", "Task": "text", "Test, %": "number", "Validation, %": "number", "Share": "number"},
        **{"Seed": "number", "Preset": "text", "Status": "text", "Steps": "number", "Training time": "number"},
        **{"Parameters": "number", "State": "number", "Device": "text", "Date": "text", "In a table": "text"},
    }
    rows = [_run(run, content.run_place(run) in shown, prefix) for run in results.runs]
    heads = [head(title, kind) for title, kind in kinds.items()]
    return sortable("All runs", heads, rows, class_="list", id="all-runs")


def _run(run: RunRecord, shown: bool, prefix: Prefix) -> Html:
    result, part, place = run.result, share([run]), [content.run_place(run)]
    validation = None if result is None else result.validation_accuracy
    test = "record" if result is None else f"{100 * result.test_accuracy:.2f}"
    return element(
        "tr",
        element("th", run.model.title, scope="row"),
        text(run.task.title),
        number(link(test, place, prefix), None if result is None else 100 * result.test_accuracy),
        number("" if validation is None else f"{100 * validation:.2f}", validation),
        number(percent(part) if part is not None else "", part),
        number(f"{run.seed}", run.seed),
        text(run.preset if run.protocol == "strict" else f"{run.preset}, {run.protocol}"),
        text(run.status),
        number(f"{run.steps.done:,}", run.steps.done),
        number(duration(run.cost.seconds_train), run.cost.seconds_train),
        number(short(run.model.parameters), run.model.parameters),
        number("" if run.model.state_size is None else short(run.model.state_size), run.model.state_size),
        text(run.device.kind + (", shared" if run.device.shared else "")),
        text(run.created[:10]),
        text("yes" if shown else "no"),
        data_model=run.model.name,
        data_task=run.task.name,
        data_preset=run.preset,
        data_status=run.status,
    )


def steps(results: Results, prefix: Prefix) -> Html:
    """Our measured training steps, with the floor and the authors' code."""
    kinds = {
        **{"Model": "text", "Task": "text", "Batch × length": "number", "Activations": "text"},
        **{"Step, ms": "number", "Floor, ms": "number", "Step / floor": "number", "Authors’ code, ms": "number"},
        **{"Times faster": "number", "Authors’ code": "text", "Device": "text"},
    }
    rows = []
    tasks = list(layout.TASKS)

    def order(step: dict) -> tuple:
        place = tasks.index(step["task"]) if step["task"] in tasks else len(tasks)
        return step["title"].lower(), place, step["device"], step["precision"] != "float32"

    for step in sorted(content.steps(results.speeds, layout.models(results.runs)), key=order):
        for other in step["peers"] or [None]:
            over = step["ms"] / step["floor"] if step["floor"] else None
            theirs = other["ms"] if other else None
            faster = theirs / step["ms"] if theirs else None
            precision = other["precision"] if other else ""
            rows.append(
                element(
                    "tr",
                    element("th", step["title"], scope="row"),
                    text(layout.TASKS.get(step["task"], step["task"] or "")),
                    number(
                        f"{step['batch']} × {step['length']}{', one way' if step['one_way'] else ''}",
                        (step["batch"] or 0) * (step["length"] or 0),
                    ),
                    text(step["precision"]),
                    number(link(f"{step['ms']:,.2f}", [step["record"]], prefix), step["ms"]),
                    number(f"{step['floor']:,.2f}" if step["floor"] else "", step["floor"]),
                    number(f"{over:.1f}" if over else "", over),
                    number(link(f"{theirs:,.2f}", [other["record"]], prefix) if other else "", theirs),
                    number(f"{faster:.2f}×" if faster else "", faster, bar=faster),
                    text(f"{other['implementation']}, {precision}" if other else ""),
                    text(step["device"]),
                    data_model=step["model"],
                    data_task=step["task"],
                    data_precision=step["precision"],
                    data_device=step["device"],
                    data_peer="yes" if other else "no",
                )
            )
    heads = [head(title, kind) for title, kind in kinds.items()]
    return sortable("Training steps", heads, rows, class_="list", id="all-steps")


def operations(results: Results, prefix: Prefix) -> Html:
    """Our operations, each backend at each shape, with the floor and the authors' code."""
    kinds = {
        **{"Operation": "text", "Shape": "number", "Backend": "text", "Device": "text", "Forward, ms": "number"},
        **{"Floor, ms": "number", "With gradients, ms": "number", "Floor with gradients, ms": "number"},
        **{"Authors’ code, ms": "number", "Times faster": "number"},
    }
    rows = []
    for ours, theirs in speed.operations(results.speeds):
        place, shape = [content.speed_place(ours.record)], "×".join(map(str, ours.shape))
        both = ours["forward_backward_ms"]
        other = theirs[0] if theirs else None
        them = other["forward_backward_ms"] if other else None
        faster = them / both if them and both else None
        rows.append(
            element(
                "tr",
                element("th", ours.record.operation, scope="row"),
                number(shape, math.prod(ours.shape)),
                text(ours.backend),
                text(ours.record.device.kind),
                number(link(_ms(ours["forward_ms"]), place, prefix), ours["forward_ms"]),
                _floor(ours.floor(backward=False)),
                number(link(_ms(both), place, prefix), both),
                _floor(ours.floor(backward=True)),
                number(link(_ms(them), [content.speed_place(other.record)], prefix) if other else "", them),
                number(f"{faster:.2f}×" if faster else "", faster, bar=faster),
                data_device=ours.record.device.kind,
                data_operation=ours.record.operation,
            )
        )
    heads = [head(title, kind) for title, kind in kinds.items()]
    return sortable("Operations", heads, rows, class_="list", id="all-operations")


def _ms(value: float | None) -> str:
    """Milliseconds of an operation; "record" where it has none, so that a link has a text."""
    return "record" if value is None else f"{value:,.3f}"


def _floor(value: float | None) -> Html:
    return number("" if value is None else _ms(value), value)


def head(title: str, kind: str, below: str = "") -> Html:
    """The head of a column, a button that sorts by it; kind is text or number."""
    button = element("button", title, type="button")
    return element("th", button, *([element("small", below)] if below else []), scope="col", class_=kind)


def text(words: str) -> Html:
    """A cell of text."""
    return element("td", words)


def number(words: str, value: float | None, *, bar: float | None = None) -> Html:
    """A cell of a number, and the value by which it is sorted; with a bar as long as the number is large, up to 6."""
    width = None if bar is None else f"--bar:{min(100.0, 100 * bar / 6):.3g}%"
    return element(
        "td",
        words,
        class_="number bar" if bar is not None else "number",
        style=width,
        data_value="" if value is None else f"{value:.6g}",
    )


def sortable(caption: str, heads: Sequence[Html], rows: Sequence[Html], *, foot: str = "", **attributes: str) -> Html:
    """A table in a box of its own, which scrolls where the screen is narrow."""
    inside = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *heads)),
        element("tbody", *rows),
        element("tfoot", foot) if foot else Html(""),
        **attributes,
    )
    return element("div", inside, class_="scroll", tabindex="0", role="region", aria_label=caption)


def choices(values: Iterable[tuple[str, str]], every: str) -> Html:
    """The options of a filter: all, then each (value, words) once, in their order."""
    options = [element("option", words, value=value) for value, words in dict.fromkeys(values)]
    return join(element("option", every, value=""), *options)


def field(words: str, control: Html) -> Html:
    """A labeled control."""
    return element("label", element("span", words), control)


def select(words: str, name: str, values: Iterable[tuple[str, str]], every: str) -> Html:
    """A labeled filter by one of some values."""
    return field(words, element("select", choices(values, every), data_filter=name))


def unique(results: Results, of: Callable[[RunRecord], tuple[str, str]]) -> list[tuple[str, str]]:
    """What occurs among the runs, sorted."""
    return sorted({of(run) for run in results.runs}, key=lambda pair: pair[1].lower())


def duration(seconds: float) -> str:
    """12 s, 34 min or 5.6 h."""
    if seconds < 99.5:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"
