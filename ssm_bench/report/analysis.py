"""Figures of analyses, drawn from their tables, and their files."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssm_bench.record import store
from ssm_bench.report import figures, layout
from ssm_bench.report.figures import PANELS_A_ROW, STYLE, WIDTH


def write(name: str, tables: Mapping[str, pd.DataFrame], figure: Figure, root: Path | str) -> list[Path]:
    """Writes <root>/analysis/<name>.svg, the tables with its data, and the hashes of all files in this folder.

    Args:
        name: name of the figure.
        tables: suffix -> table, written to <name><suffix>.csv.
        figure: the figure.
        root: the folder of all results.

    Raises:
        UserError: a file cannot be written.
    """
    folder = layout.analyses_of(root)
    texts = {
        f"{name}{suffix}.csv": table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        for suffix, table in tables.items()
    }
    texts[f"{name}.svg"] = figures.svg(figure).decode()
    paths = [store.write_text(text, folder / file) for file, text in texts.items()]
    every = {path.name: path.read_bytes() for path in sorted(folder.glob("[!.]*")) if path.suffix in (".csv", ".svg")}
    store.write_text(store.hashes(every), folder / store.DRAWN)
    return paths


def draw_spectrum(points: pd.DataFrame, summary: pd.DataFrame, title: str) -> Figure:
    """The unit disk of each model, and the distribution of time constants of all models.

    Args:
        points: eigenvalues, as `ssm_bench.analysis.spectrum.spectrum` returns them.
        summary: of all eigenvalues, likewise.
        title: of the figure.
    """
    models = list(dict.fromkeys(points["model"]))
    with mpl.rc_context(STYLE):
        columns = min(PANELS_A_ROW, len(models))
        rows = math.ceil(len(models) / columns)
        figure = _figure(title, height=2.3 * rows + 2.2)
        grid = figure.add_gridspec(rows + 1, columns, height_ratios=[1.0] * rows + [0.8])
        for place, model in enumerate(models):
            panel = figure.add_subplot(grid[divmod(place, columns)])
            shown, of_model = points.loc[points["model"] == model], summary.loc[summary["model"] == model]
            close = np.average(of_model["close"], weights=of_model["eigenvalues"])
            _disk(panel, shown, model, close, figures.style(place)["color"])
        panel = figure.add_subplot(grid[rows, :])
        for place, model in enumerate(models):
            modulus = np.hypot(*points.loc[points["model"] == model, ["real", "imaginary"]].to_numpy().T)
            # Where |λ| is 1, or rounds to it, the line ends below 100 %.
            steps = np.sort(-1 / np.log(modulus[(modulus > 0) & (modulus < 1)]))
            share = 100 * (np.arange(len(steps)) + 1 + np.sum(modulus == 0)) / len(modulus)
            look = {key: value for key, value in figures.style(place).items() if key != "marker"}
            panel.step(steps, share, where="post", label=model, **look)
        panel.set_xscale("log")
        panel.set_xlabel("time constant -1 / log |λ| (steps)")
        panel.set_ylabel("eigenvalues up to it (%)")
        handles, labels = panel.get_legend_handles_labels()
        figures.legend(figure, handles, labels)
        return figure


def _disk(panel: Axes, points: pd.DataFrame, model: str, close: float, color: str) -> None:
    angle = np.linspace(0, 2 * np.pi, 361)
    panel.plot(np.cos(angle), np.sin(angle), color=figures.CHANCE_COLOUR, lw=0.8)
    # A vector graphic of thousands of marks would take megabytes.
    panel.plot(points["real"], points["imaginary"], ".", color=color, ms=2.5, mew=0, alpha=0.6, rasterized=True)
    panel.set_aspect("equal")
    panel.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    panel.set_title(model, loc="left", fontweight="bold")
    panel.set_title(f"{100 * close:.0f} % at |λ| ≥ 0.99", loc="right", fontsize=7)


def draw_memory(curves: pd.DataFrame, summary: pd.DataFrame, title: str) -> Figure:
    """The gradient against the distance of the input, one panel for each model, one line for each layer.

    Args:
        curves: gradients, as `ssm_bench.analysis.memory.memory` returns them.
        summary: effective memory lengths, likewise; a dotted line marks each.
        title: of the figure.
    """
    models = list(dict.fromkeys(curves["model"]))
    with mpl.rc_context(STYLE):
        columns = min(PANELS_A_ROW, len(models))
        rows = math.ceil(len(models) / columns)
        figure = _figure(title, height=1.9 * rows + 0.6)
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for panel in panels.flat[len(models) :]:
            panel.set_visible(False)
        for place, model in enumerate(models):
            panel = panels.flat[place]
            of_model = curves.loc[(curves["model"] == model) & (curves["gradient"] > 0)]
            for layer, curve in of_model.groupby("layer"):
                look = {key: value for key, value in figures.style(int(layer)).items() if key != "marker"}
                panel.plot(curve["back"] + 1, curve["gradient"], **look)
            lengths = summary.loc[summary["model"] == model, ["layer", "memory"]].to_numpy()
            for layer, length in lengths:
                panel.axvline(length + 1, color=figures.style(int(layer))["color"], lw=0.8, ls=(0, (1, 1.5)))
            panel.set(xscale="log", yscale="log")
            panel.set_title(model, loc="left", fontweight="bold")
            panel.set_title(
                "90 % within " + ", ".join(f"{length}" for _, length in lengths[:4]), loc="right", fontsize=7
            )
            if place % columns == 0:
                panel.set_ylabel("gradient")
            if place + columns >= len(models):
                panel.set_xlabel("1 + distance k (steps)")
                panel.tick_params(labelbottom=True)
        largest = curves["gradient"].max()
        panels.flat[0].set_ylim(largest * 1e-7, largest * 3)
        return figure


def draw_hippo(curves: pd.DataFrame, errors: pd.DataFrame, title: str) -> Figure:
    """A signal and its reconstructions above, the error against the order below.

    Args:
        curves: as `ssm_bench.analysis.hippo.reconstruction` returns them.
        errors: likewise.
        title: of the figure.
    """
    names = [name for name in curves.columns if name not in ("time", "signal")]
    with mpl.rc_context(STYLE):
        figure = _figure(title, height=5.6)
        grid = figure.add_gridspec(3, 2)
        for place, name in enumerate(names):
            panel = figure.add_subplot(grid[divmod(place, 2)])
            panel.plot(curves["time"], curves["signal"], color=figures.CHANCE_COLOUR, lw=1.6)
            panel.plot(curves["time"], curves[name], color=figures.style(place + 1)["color"], lw=1.1)
            limit = 1.4 * curves["signal"].abs().max()
            panel.set(ylim=(-limit, limit), xlim=(0, 1))
            panel.set_title(name, loc="left", fontweight="bold")
            if place >= 2:
                panel.set_xlabel("time (1: the present)")
        panel = figure.add_subplot(grid[2, :])
        for place, name in enumerate(names):
            of_name = errors.loc[errors["matrix"] == name]
            panel.plot(of_name["order"], of_name["error"], **figures.style(place + 1), label=name, ms=4, mec="white")
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        panel.xaxis.set_major_formatter("{x:g}")
        panel.set_xlabel("order (number of states)")
        panel.set_ylabel("relative error")
        handles, labels = panel.get_legend_handles_labels()
        figures.legend(figure, handles, labels)
        return figure


def draw_views(curves: pd.DataFrame, differences: pd.DataFrame, title: str) -> Figure:
    """One output in three views above, their differences against the step below.

    Args:
        curves: as `ssm_bench.analysis.views.views` returns them.
        differences: likewise.
        title: of the figure.
    """
    names = [name for name in curves.columns if name not in ("time", "signal")]
    with mpl.rc_context(STYLE):
        figure = _figure(title, height=4.6)
        grid = figure.add_gridspec(2, len(names))
        for place, name in enumerate(names):
            panel = figure.add_subplot(grid[0, place])
            panel.plot(curves["time"], curves["signal"], color=figures.CHANCE_COLOUR, lw=0.8)
            panel.plot(curves["time"], curves[name], color=figures.style(place + 1)["color"])
            panel.set_title(name, loc="left", fontweight="bold")
            panel.set_xlabel("time")
        panel = figure.add_subplot(grid[1, :])
        lines = {
            "bilinear": "bilinear recurrence to continuous",
            "recurrent": "recurrent to continuous",
            "convolutional": "convolutional to recurrent",
        }
        for place, (name, label) in enumerate(lines.items()):
            panel.plot(differences["dt"], differences[name], **figures.style(place), label=label, ms=4, mec="white")
        panel.set(xscale="log", yscale="log", xlabel="step dt", ylabel="relative difference")
        handles, labels = panel.get_legend_handles_labels()
        figures.legend(figure, handles, labels)
        return figure


def draw_damping(curves: pd.DataFrame, eigenvalues: pd.DataFrame, title: str) -> Figure:
    """Positions of both sequences above, the distance of their states below, one column for each system.

    Args:
        curves: as `ssm_bench.analysis.damping.damping` returns them.
        eigenvalues: likewise.
        title: of the figure.
    """
    systems = list(dict.fromkeys(curves["system"]))
    with mpl.rc_context(STYLE):
        figure = _figure(title, height=4.0)
        panels = figure.subplots(2, len(systems), sharex=True, squeeze=False)
        for place, system in enumerate(systems):
            upper, lower = panels[:, place]
            curve = curves.loc[curves["system"] == system]
            modulus = eigenvalues.loc[eigenvalues["system"] == system, "modulus"].max()
            for line, sequence in enumerate(("A", "B")):
                look = {"color": figures.COLORS[(4, 5)[line]], "ls": figures.DASHES[line]}
                upper.plot(curve["step"], curve[sequence], label=f"sequence {sequence}", **look)
            lower.plot(curve["step"], curve["distance"], color=figures.COLORS[0])
            lower.set(yscale="log", ylim=(curves["distance"].min() / 3, curves["distance"].max() * 3))
            upper.set_title(system, loc="left", fontweight="bold")
            upper.set_title(f"|λ| {modulus:.3f}", loc="right", fontsize=7)
            lower.set_xlabel("step")
        panels[0, 0].set_ylabel("position")
        panels[1, 0].set_ylabel("distance of the states")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figures.legend(figure, handles, labels)
        return figure


def draw_locality(table: pd.DataFrame, title: str) -> Figure:
    """Accuracy against the positions seen at once, one panel for each task; hollow marks: no limit.

    Args:
        table: as `ssm_bench.analysis.designed.locality` returns it.
        title: of the figure.
    """
    table = table.assign(series=table["model"] + ", " + table["limit"])
    return _accuracy_curves(table, "positions", "positions seen at once w", title, hollow="unlimited")


def draw_selectivity(table: pd.DataFrame, title: str) -> Figure:
    """Accuracy against the initial time constant, one panel for each task, one line for each model.

    Args:
        table: as `ssm_bench.analysis.designed.selectivity` returns it.
        title: of the figure.
    """
    return _accuracy_curves(table.assign(series=table["model"]), "steps", "initial time constant (steps)", title)


def draw_probes(table: pd.DataFrame, title: str) -> Figure:
    """Accuracy by model, one panel for each probe, and against the state size where a model has several.

    Args:
        table: as `ssm_bench.analysis.designed.probes` returns it; the first row of a model and a probe is shown above.
        title: of the figure.
    """
    first = table.drop_duplicates(["task", "model"])
    tasks, models = list(dict.fromkeys(table["task"])), list(dict.fromkeys(table["model"]))
    sizes = table.dropna(subset=["state_size"]).groupby(["task", "model"], sort=False)
    sizes = sizes.filter(lambda of_model: of_model["state_size"].nunique() > 1)
    below = list(dict.fromkeys(sizes["task"]))
    with mpl.rc_context(STYLE):
        rows, lower = math.ceil(len(tasks) / PANELS_A_ROW), math.ceil(len(below) / PANELS_A_ROW)
        figure = _figure(title, height=(0.17 * len(models) + 0.75) * rows + 1.9 * lower + 0.6)
        heights = [0.17 * len(models) + 0.75] * rows + [1.9] * lower
        grid = figure.add_gridspec(rows + lower, PANELS_A_ROW, height_ratios=heights)
        for place, task in enumerate(tasks):
            panel = figure.add_subplot(grid[divmod(place, PANELS_A_ROW)])
            for height, model in enumerate(models):
                of_model = first.loc[(first["task"] == task) & (first["model"] == model)]
                color = figures.style(height)["color"]
                panel.barh(
                    [height] * len(of_model), of_model["accuracy"], xerr=_bars(of_model), color=color, height=0.7
                )
            panel.axvline(table.loc[table["task"] == task, "chance"].iloc[0], **_CHANCE)
            panel.set(xlim=(0, 100), ylim=(len(models) - 0.4, -0.6), yticks=range(len(models)))
            panel.set_yticklabels(models if place % PANELS_A_ROW == 0 else [])
            panel.set_title(task, loc="left", fontweight="bold")
            panel.grid(axis="y", visible=False)
            if place + PANELS_A_ROW >= len(tasks):
                panel.set_xlabel("test accuracy (%)")
        for place, task in enumerate(below):
            row, column = divmod(place, PANELS_A_ROW)
            panel = figure.add_subplot(grid[rows + row, column])
            _curves(panel, sizes.loc[sizes["task"] == task].rename(columns={"model": "series"}), "state_size", models)
            panel.set_title(task, loc="left", fontweight="bold")
            panel.set_xlabel("state size (numbers per sequence)")
            if column == 0:
                panel.set_ylabel("test accuracy (%)")
        return figure


#: The line of chance.
_CHANCE: dict[str, Any] = {"color": figures.CHANCE_COLOUR, "lw": 0.8, "ls": (0, (1, 1.5))}


def _accuracy_curves(table: pd.DataFrame, across: str, label: str, title: str, hollow: str = "") -> Figure:
    """Accuracy against the column `across` on a logarithmic axis, one panel for each task, one line for each series."""
    tasks, series = list(dict.fromkeys(table["task"])), list(dict.fromkeys(table["series"]))
    with mpl.rc_context(STYLE):
        columns = min(2, len(tasks))
        rows = math.ceil(len(tasks) / columns)
        figure = _figure(title, height=2.1 * rows + 0.8)
        panels = figure.subplots(rows, columns, squeeze=False)
        for place, panel in enumerate(panels.flat):
            if place >= len(tasks):
                panel.set_visible(False)
                continue
            _curves(panel, table.loc[table["task"] == tasks[place]], across, series, hollow)
            panel.set_title(tasks[place], loc="left", fontweight="bold")
            panel.set_xlabel(label)
            if place % columns == 0:
                panel.set_ylabel("test accuracy (%)")
        handles = [Line2D([], [], **figures.style(place), ms=4) for place in range(len(series))]
        figures.legend(figure, [*handles, Line2D([], [], **_CHANCE)], [*series, "chance"])
        return figure


def _curves(panel: Axes, table: pd.DataFrame, across: str, series: list[str], hollow: str = "") -> None:
    """Draws the lines of one panel; the position of a name in `series` determines its color."""
    for name, line in table.groupby("series", sort=False):
        line = line.sort_values(across)
        look = figures.style(series.index(str(name)))
        panel.errorbar(line[across].astype(float), line["accuracy"], yerr=_bars(line), ms=4, capsize=2, **look)
        if hollow:
            ends: dict[str, Any] = look | {"ls": "", "ms": 4, "mfc": "white", "zorder": 3}
            panel.plot(across, "accuracy", data=line.loc[line[hollow]], **ends)
    panel.axhline(table["chance"].iloc[0], **_CHANCE)
    panel.set_xscale("log")


def _bars(table: pd.DataFrame) -> np.ndarray:
    """Half-widths (n,), zero for a single seed."""
    return table["half_width"].astype(float).fillna(0.0).to_numpy()


def _figure(title: str, *, height: float) -> Figure:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.suptitle(figures.wrapped(title, WIDTH), fontsize=8.5, x=0.01, ha="left")
    return figure
