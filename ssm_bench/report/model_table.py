"""The kind of system of each model: Table I of the control theoretic overview (arXiv 2403.16899), for our models.

The rows come from the classes and their recipes (`ssm_bench.sweep.model_rows`); this module only formats them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from ssm_bench.report.render import md, tabular, tabular_row, tex

#: Field of a row -> head of its column.
COLUMNS = {
    "title": "Model",
    "parametrization": "Parametrization",
    "discretization": "Discretization",
    "structure": "Structure",
    "implementation": "Implementation",
    "scaffold": "Scaffolding",
}


@dataclass(frozen=True, kw_only=True)
class Size:
    """Number of real trainable parameters of a model, and of real numbers in its state; None: not fixed."""

    parameters: int
    state: int | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A model; if recipes of tasks differ, a text lists all values. Tasks without a recipe have no size."""

    name: str
    title: str
    parametrization: str
    discretization: str
    structure: str
    implementation: str
    scaffold: str
    sizes: Mapping[str, Size] = field(default_factory=dict)


def csv(rows: Sequence[Row], tasks: Mapping[str, str], notes: Sequence[str] = ()) -> str:
    """One line per model with exact numbers; the state size is empty if it is not fixed."""
    lines = []
    for row in rows:
        line = {"model": row.name} | {name: getattr(row, name) for name in COLUMNS}
        for task in tasks:
            size = row.sizes.get(task)
            line |= {
                f"{task}_parameters": size.parameters if size else "",
                f"{task}_state_size": size.state if size and size.state is not None else "",
            }
        lines.append(line)
    return pd.DataFrame(lines).to_csv(index=False, lineterminator="\n")


def markdown(rows: Sequence[Row], tasks: Mapping[str, str], notes: Sequence[str] = ()) -> str:
    """A Markdown table with the parameters and the state size for each task."""
    heads = [*COLUMNS.values(), *tasks.values()]
    lines = [f"| {' | '.join(heads)} |", f"| {' | '.join([':---'] * len(COLUMNS) + ['---:'] * len(tasks))} |"]
    for row in rows:
        texts = [md(getattr(row, name)) for name in COLUMNS]
        lines.append(f"| {' | '.join([*texts, *(_size(row.sizes.get(t), ', ') for t in tasks)])} |")
    return "\n".join(["\n".join(lines), *(f"\n{md(note)}" for note in (SIZES, *notes))]) + "\n"


def latex(rows: Sequence[Row], tasks: Mapping[str, str], notes: Sequence[str] = ()) -> str:
    r"""Two tabulars, kinds and sizes, to be \input inside a table environment; needs the package booktabs.

    They fit the 345 pt of an article's text.
    """
    described = [tabular_row(*(tex(getattr(row, name)) for name in COLUMNS)) for row in rows]
    sized = [tabular_row(tex(row.title), *(_size(row.sizes.get(t), r",\,", tex) for t in tasks)) for row in rows]
    lines = [
        r"% Written by `ssm-bench list models --format latex`. Needs booktabs; \input it inside a table environment.",
        r"\begingroup",
        r"\centering",
        r"\scriptsize",
        r"\setlength{\tabcolsep}{3.5pt}",
        *tabular("l" * len(COLUMNS), [*COLUMNS.values()], described),
        # A single tabular would be twice as wide as a page, and so would twelve sizes in a row in normal font size.
        r"\tiny",
        *tabular("l" + "r" * len(tasks), [COLUMNS["title"], *map(tex, tasks.values())], sized),
    ]
    lines += [r"\scriptsize", *(rf"{tex(note)}\par" for note in (SIZES, *notes))]
    return "\n".join([*lines, r"\endgroup", ""])


#: What the columns of the tasks hold.
SIZES = "Each task: trainable real numbers, and real numbers carried per sequence; \N{EN DASH}: no fixed number."

FORMATS = {"csv": csv, "latex": latex, "markdown": markdown}


def short(number: int) -> str:
    """A number with three digits: 512, 4.1k, 1.23M."""
    for unit, factor in (("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * factor:
            return f"{number / factor:.3g}{unit}"
    return str(number)


def _size(size: Size | None, between: str, escape: Callable[[str], str] = str) -> str:
    if size is None:
        return "no recipe"
    state = "\N{EN DASH}" if size.state is None else short(size.state)
    return f"{short(size.parameters)}{between}{escape(state)}"
