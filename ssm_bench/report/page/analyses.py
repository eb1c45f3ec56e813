"""The sections of `ssm-bench analyze`: each kind of analysis with its text, and the numbers of experiments as tables.

The panels are empty here; `analyses.js` and `experiments.js` draw them from the data in the page.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from ssm_bench.report.page import content, tables
from ssm_bench.report.page.content import Results
from ssm_bench.report.page.elements import Html, element, join
from ssm_bench.report.page.tables import Prefix


@dataclass(frozen=True)
class Kind:
    """One kind of analysis.

    Attributes:
        name: as in `ssm-bench analyze <name>`.
        title: the heading of its panels.
        text: what they show and how to read them.
        columns: of its table, which together no other kind has.
        summary: columns of the table `<name>-summary`; empty: it has none.
        size: of the panels: small, large, or "" in between.
    """

    name: str
    title: str
    text: str
    columns: frozenset[str]
    summary: frozenset[str] = frozenset()
    size: str = ""


#: Columns of text; all others are numbers.
TEXT = {"task", "model", "limit", "system", "matrix", "records"}


def _columns(names: str) -> frozenset[str]:
    return frozenset(names.split())


#: Properties of models and of linear systems.
PROPERTIES = (
    Kind(
        "spectrum",
        "Eigenvalues",
        "Eigenvalues of the discrete dynamics in the unit disk. The closer to the circle, the longer a model "
        "remembers: an eigenvalue λ decays by a factor of e in −1 / log |λ| steps, its time constant. The corner of a "
        "disk is the share of eigenvalues with 0.99 ≤ |λ| < 1. The last panel shows time constants: the median and "
        "the middle 90 %. Models have their initial parameters unless their name says trained.",
        _columns("model layer real imaginary"),
        _columns("model layer eigenvalues close steps_05 steps_50 steps_95"),
        "small",
    ),
    Kind(
        "memory",
        "Memory",
        "Size of the gradient of the last output with respect to the input k steps earlier, one line for each layer. "
        "The corner and the dotted line are the effective memory length: the distances up to it hold 90 % of the sum "
        "over all. Models have their initial parameters unless their name says trained.",
        _columns("model layer back gradient"),
        _columns("model layer memory"),
        "small",
    ),
    Kind(
        "hippo",
        "HiPPO",
        "A signal (gray) and its reconstruction from the state of four HiPPO systems, then the relative error "
        "against the number of states.",
        _columns("time signal"),
        _columns("matrix order error"),
        "small",
    ),
    Kind(
        "views",
        "Three views of one system",
        "The output of one linear system as a differential equation, a recurrence and a convolution, for the input "
        "in gray; then the relative differences between them against the step.",
        _columns("time signal continuous recurrent convolutional"),
        _columns("dt recurrent convolutional bilinear"),
        "small",
    ),
    Kind(
        "damping",
        "Damping",
        "Distance between the states of two sequences that differ in their first token, in a mass on a spring with a "
        "damper. The corner is the largest |λ|.",
        _columns("system step distance"),
        _columns("system modulus"),
        "small",
    ),
)

#: Experiments, which read the records of `experiments/<name>.yaml`.
EXPERIMENTS = (
    Kind(
        "probes",
        "Probes",
        "Can a model recall, count, or multiply? Test accuracy in percent on generated tasks, each of which needs "
        "one ability. State size is the count of numbers that a model carries from one position to the next.",
        _columns("task model state_size accuracy half_width seeds chance"),
    ),
    Kind(
        "locality",
        "Locality",
        "How much of a task does a model solve that sees only w positions at once? Test accuracy in percent against "
        "w: the flatter a line, the less the task needs long memory. Hollow marks have no limit; the dotted line is "
        "chance.",
        _columns("task model limit positions unlimited accuracy half_width seeds chance"),
    ),
    Kind(
        "selectivity",
        "Selectivity",
        "Does it help if eigenvalues start close to the unit circle? Test accuracy in percent against the initial "
        "time constant, with 95 % intervals over seeds, for time-invariant models and for models that vary with their "
        "input.",
        _columns("task model modulus steps accuracy half_width seeds chance"),
    ),
)


def sections(kinds: tuple[Kind, ...], results: Results, prefix: Prefix) -> Html:
    """The analyses of some kinds, each under a heading."""
    return join(
        *(_analysis(kind, name, results, prefix) for kind in kinds for name in _names(kind, results.analyses)),
    )


def _names(kind: Kind, analyses: dict[str, pd.DataFrame]) -> list[str]:
    """The analyses of a kind, known by their columns: their files may have any name."""

    def matches(name: str, table: pd.DataFrame) -> bool:
        # HiPPO and the views differ in their summaries only.
        summary = analyses.get(f"{name}-summary", pd.DataFrame())
        complete = len(table) > 0 and kind.columns <= set(table) and kind.summary <= set(summary)
        # A damaged table may hold anything.
        return complete and all(map(pd.api.types.is_numeric_dtype, (table[column] for column in kind.columns - TEXT)))

    return [name for name, table in analyses.items() if matches(name, table)]


def _analysis(kind: Kind, name: str, results: Results, prefix: Prefix) -> Html:
    # A second analysis of the same kind has a name of its own.
    title = kind.title if name == kind.name else f"{kind.title}: {name}"
    panels = element(
        "div", class_=f"panels {kind.size}".strip(), id=f"panels-{name}", data_kind=kind.name, data_analysis=name
    )
    table = {"probes": _probes, "locality": _list, "selectivity": _list}.get(kind.name)
    numbers = table(name, kind.title, results, prefix) if table else Html("")
    heading = [element("h3", title, id=f"analysis-{name}"), element("p", kind.text)]
    return join(*heading, *((numbers, panels) if kind.name == "probes" else (panels, numbers)))


def without(results: Results) -> Html:
    """A sentence with the commands for each experiment that has no results."""
    missing = [kind for kind in EXPERIMENTS if not _names(kind, results.analyses)]
    return join(
        *(
            element(
                "p",
                element("b", f"{kind.title}: "),
                "not analyzed yet. ",
                element("code", f"ssm-bench sweep --plan experiments/{kind.name}.yaml"),
                " trains the models, then ",
                element("code", f"ssm-bench analyze {kind.name}"),
                " computes the numbers.",
            )
            for kind in missing
        )
    )


def figures(results: Results, prefix: Prefix) -> Html:
    """Links to the figures of all analyses; without any analysis, the command that makes them."""
    if not results.figures:
        if any(_names(kind, results.analyses) for kind in PROPERTIES):
            return Html("")
        return element(
            "p",
            "No analysis yet. ",
            element("code", "ssm-bench analyze spectrum --model MODELS"),
            " computes eigenvalues; ",
            element("code", "ssm-bench analyze --help"),
            " lists the others.",
        )
    links = [element("a", Path(name).stem, href=quote(f"{prefix}analysis/{name}")) for name in results.figures]
    words = [word for link in links for word in (link, ", ")][:-1]
    return element("p", "The same as figures of ", element("code", "ssm-bench analyze"), ": ", *words, ".")


def _probes(name: str, title: str, results: Results, prefix: Prefix) -> Html:
    """Accuracy by model and state size (rows) and probe (columns), with a bar from chance to 100 %."""
    frame, known = results.analyses[name], _known(results)
    probes = list(dict.fromkeys(frame["task"]))
    rows = []
    # Models in their first order, each from the smallest state on.
    models = {model: place for place, model in enumerate(dict.fromkeys(frame["model"]))}
    frame = frame.sort_values("state_size").sort_values("model", key=lambda names: names.map(models), kind="stable")
    for _, alike in frame.groupby(["model", "state_size"], sort=False, dropna=False):
        by_probe = {row["task"]: row for row in alike.to_dict("records")}
        model, size = alike[["model", "state_size"]].iloc[0]
        state = None if pd.isna(size) else float(size)
        rows.append(
            element(
                "tr",
                element("th", str(model), scope="row"),
                tables.number("grows" if state is None else f"{state:,.0f}", state),
                *(_accuracy(by_probe.get(probe), known, prefix) for probe in probes),
            )
        )
    heads = [tables.head("Model", "text"), tables.head("State size", "number")]
    heads += [tables.head(str(probe), "number", below=f"chance {_chance(frame, probe):.3g}") for probe in probes]
    return tables.sortable(title, heads, rows, class_="list experiment", id=f"numbers-{name}")


def _chance(frame: pd.DataFrame, task: str) -> float:
    return float(frame.loc[frame["task"] == task, "chance"].iloc[0])


#: Columns of an experiment -> head and kind of a column of the list of its numbers.
_HEADS = {
    "task": ("Task", "text"),
    "model": ("Model", "text"),
    "limit": ("Limit", "text"),
    "positions": ("Positions", "number"),
    "modulus": ("|λ|", "number"),
    "steps": ("Time constant, steps", "number"),
}


def _list(name: str, title: str, results: Results, prefix: Prefix) -> Html:
    """Every number of an experiment, one line each, folded."""
    frame, known = results.analyses[name], _known(results)
    shown = [column for column in _HEADS if column in frame]
    rows = []
    for row in frame.to_dict("records"):
        cells = [
            tables.number(_written(row[column]), _finite(row[column]))
            if _HEADS[column][1] == "number"
            else tables.text(str(row[column]))
            for column in shown[1:]
        ]
        first = element("th", str(row["task"]), scope="row")
        rows.append(
            element("tr", first, *cells, _accuracy(row, known, prefix), tables.number(f"{row['seeds']}", row["seeds"]))
        )
    heads = [tables.head(*_HEADS[column]) for column in shown]
    heads += [tables.head("Test, %", "number"), tables.head("Seeds", "number")]
    listed = tables.sortable(title, heads, rows, class_="list experiment", id=f"numbers-{name}")
    return element("details", element("summary", f"All {len(rows)} numbers as a table"), listed, class_="numbers")


def _known(results: Results) -> set[str]:
    """The records that the page can open."""
    return {content.run_place(run) for run in results.runs}


def _accuracy(row: dict | None, known: set[str], prefix: Prefix) -> Html:
    """A cell with the mean over seeds and its interval, linked to their records; a bar from chance to 100 %."""
    if row is None:
        return tables.number("", None)
    words = f"{row['accuracy']:.2f}" + ("" if pd.isna(row["half_width"]) else f" ± {row['half_width']:.2f}")
    places = content.places(row, known)
    told = tables.link(words, places, prefix, f"{row['model']} on {row['task']}: record") if places else join(words)
    above = max(0.0, row["accuracy"] - row["chance"]) / (100 - row["chance"])
    return tables.number(told, row["accuracy"], bar=6 * above)


def _written(value: float) -> str:
    return "∞" if math.isinf(value) else f"{value:,.0f}" if value >= 10 else f"{value:.4g}"


def _finite(value: float) -> float | None:
    return None if math.isinf(value) or math.isnan(value) else float(value)
