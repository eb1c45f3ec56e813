"""One HTML file of all results, which needs no network: its tables are HTML, and scripts draw its charts.

The page is a function of the files in the folder of results, so the same records make the same bytes.
"""

import base64
import hashlib
import os
import re
from importlib import resources
from pathlib import Path

from ssm_bench import __version__
from ssm_bench.record import store
from ssm_bench.report import layout
from ssm_bench.report.page import analyses, content, tables
from ssm_bench.report.page.content import Results
from ssm_bench.report.page.elements import Html, element, join, script_json

#: What the page is called in the folder of results.
NAME = "report.html"

#: The parts of its script, in their order.
SCRIPTS = (
    "common.js",
    "tables.js",
    "charts.js",
    "comparison.js",
    "experiments.js",
    "analyses.js",
    "speed.js",
    "records.js",
    "start.js",
)

#: A slot of the template.
SLOT = re.compile(r"\{\{(\w+)\}\}")


def write(root: Path | str, out: Path | str | None = None, *, skip: store.Skip | None = None) -> Path:
    """Writes the page of all results.

    Args:
        root: the folder of all results.
        out: the file; None: `NAME` in that folder.
        skip: called with a sentence about each bad file, which is left out.

    Returns:
        The file.

    Raises:
        UserError: the file cannot be written.
    """
    path = Path(root) / NAME if out is None else Path(out)
    results = content.read(root)
    for sentence in results.bad if skip else ():
        skip(sentence)  # type: ignore[misc]
    text = build(results, prefix(root, path.parent))
    if not path.is_file() or path.read_bytes() != text.encode():
        store.write_text(text, path)
    return path


def prefix(root: Path | str, folder: Path | str) -> str:
    """What leads from a folder with the page to the folder of results; "" where both are the same."""
    relative = os.path.relpath(Path(root).resolve(), Path(folder).resolve())
    return "" if relative == "." else Path(relative).as_posix() + "/"


def build(results: Results, prefix: str = "", *, fingerprint: str | None = None) -> str:
    """The page as text.

    Args:
        results: what it shows.
        prefix: as `prefix` returns it.
        fingerprint: of the files behind it, where a server renews the page.
    """
    style, script = _file("page.css"), "\n".join(map(_file, SCRIPTS))
    data = script_json(content.plain(results) | {"prefix": prefix})
    slots = {
        "policy": _policy(script),
        "fingerprint": Html("") if fingerprint is None else element("meta", name="fingerprint", content=fingerprint),
        "style": Html(style),
        "summary": _summary(results),
        "bad": _bad(results),
        "comparisons": join(*(tables.comparison(table, results, prefix) for table in results.tables)),
        "table_choice": _table_choice(results),
        "experiments": analyses.sections(analyses.EXPERIMENTS, results, prefix),
        "missing_experiments": analyses.without(results),
        "properties": analyses.sections(analyses.PROPERTIES, results, prefix),
        "figures": analyses.figures(results, prefix),
        "run_filters": _run_filters(results),
        "runs": tables.runs(results, prefix),
        "step_filters": _step_filters(results),
        "steps": tables.steps(results, prefix),
        "operations": tables.operations(results, prefix),
        "version": join(__version__),
        "data": data,
        "script": Html(script),
    }
    # In one pass: a text with braces in a record is no slot.
    return SLOT.sub(lambda slot: slots[slot[1]], _file("page.html"))


def _file(name: str) -> str:
    return (resources.files(__name__) / name).read_text(encoding="utf-8")


def _policy(script: str) -> Html:
    """What a browser may load and run for the page: this script, and from its own server alone."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return join(
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'"
    )


def _summary(results: Results) -> Html:
    """The best result of each task, and how much there is."""
    if not results.runs:
        return join("There are no records of runs yet.")
    finished = sum(run.status == "ok" for run in results.runs)
    counts = [
        (len(results.runs), f"runs ({finished} finished)"),
        (len({run.model.name for run in results.runs}), "models"),
        (len({run.task.name for run in results.runs}), "tasks"),
        (len(results.speeds), "measurements of speed"),
    ]
    last = max(run.created for run in results.runs)[:10]
    return join(
        element("p", results.headline, class_="headline") if results.headline else "",
        element(
            "p", *(f"{number} {words} · " for number, words in counts if number), f"last run {last}", class_="count"
        ),
    )


def _bad(results: Results) -> Html:
    """The files that were left out."""
    if not results.bad:
        return Html("")
    items = [element("li", sentence) for sentence in results.bad]
    return element("details", element("summary", f"{len(items)} files were left out"), element("ul", *items))


def _table_choice(results: Results) -> Html:
    names = [element("option", table.title, value=table.name) for table in results.tables]
    return tables.field("Table", element("select", *names, id="table-choice")) if len(names) > 1 else Html("")


def _run_filters(results: Results) -> Html:
    return join(
        tables.select("Task", "task", tables.unique(results, lambda r: (r.task.name, r.task.title)), "all tasks"),
        tables.select("Preset", "preset", tables.unique(results, lambda r: (r.preset, r.preset)), "all presets"),
        tables.select("Status", "status", tables.unique(results, lambda r: (r.status, r.status)), "any status"),
    )


def _step_filters(results: Results) -> Html:
    found = content.steps(results.speeds, layout.models(results.runs))
    tasks = [(step["task"], str(layout.TASKS.get(step["task"], step["task"]))) for step in found if step["task"]]
    return join(
        tables.select("Task", "task", tasks, "all tasks"),
        tables.select("Activations", "precision", sorted({(s["precision"],) * 2 for s in found}), "any precision"),
        tables.select("Authors’ code", "peer", [("yes", "compared"), ("no", "not compared")], "either"),
    )
