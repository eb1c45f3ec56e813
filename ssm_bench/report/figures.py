"""Figures from records: learning curves, accuracy against cost, parameters and state size; streams and lengths.

A figure of runs is a grid with one panel per task. A model has the same color and marker in all figures of a preset.
The palette is suitable for color-blind readers (Okabe and Ito, https://jfly.uni-koeln.de/color/, without yellow, which
is too light for lines). After seven models, the colors repeat with other markers and dashes.
"""

import io
import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from msgspec import structs

from ssm_bench.data.task import LRA
from ssm_bench.record import RunRecord, SpeedRecord, store
from ssm_bench.report import aggregate, layout, speed
from ssm_bench.report.aggregate import Cell, learning_curve

COLORS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
#: Color of the lines after the first 49.
FURTHER_MARKERS = ("*", "p", "<", "d", ">", "h", "8")
DASHES = (
    *("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1.2, 1, 1.2, 1, 1.2))),
    *((0, (9, 2)), (0, (2, 2.5)), (0, (9, 1.5, 3, 1.5)), (0, (4, 3))),
)

STYLE: dict[Any, Any] = {
    "font.size": 8,
    # Titles come from records, so "$" is a dollar sign and does not start a formula.
    "text.parse_math": False,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "savefig.dpi": 200,
    # Without a salt, the ids in an SVG are random.
    "svg.hashsalt": "ssm_bench",
}

#: Inches: the text width of a page, and the height of a row of panels.
WIDTH, ROW_HEIGHT = 7.2, 2.15
PANELS_A_ROW = 3
LEGEND_COLUMNS = 5
#: Height of a title or a legend.
CHARACTERS_AN_INCH = 15
CHANCE_COLOUR = "#999999"
#: One marker per model, so that a figure with few models is readable without colors.
DISTINCT = ("o", "s", "^", "D", "v", "P", "X", "*", "p", "h", "<", ">", "d", "8")
#: Length of the arrow at an upper bound, as a part of it.
ARROW = 0.06


def draw(records: Iterable[RunRecord], preset: str, protocol: str) -> dict[str, bytes]:
    """File name -> content of every figure of one preset under one protocol, as SVG and PNG.

    Runs on tasks of suites other than the Long Range Arena are left out, and so are figures without data.
    """
    records = [r for r in records if (r.preset, r.protocol, r.task.suite) == (preset, protocol, LRA)]
    title = f"Protocol {protocol} · {layout.preset_title(preset)}"
    cells = aggregate.cells(records)
    drawn = {
        "learning-curves": _learning_curves(records, cells, title),
        "accuracy-cost": _accuracy_against(
            records,
            cells,
            title,
            "training time (device-seconds)",
            lambda run: run.cost.seconds_train * run.device.count,
            timed=True,
        ),
        "accuracy-parameters": _accuracy_against(records, cells, title, "parameters", lambda run: run.model.parameters),
        "accuracy-state": _accuracy_against(
            records, cells, title, "state size (numbers per sequence)", lambda run: run.model.state_size
        ),
    }
    return _files({f"{protocol}-{name}": figure for name, figure in drawn.items() if figure is not None})


def draw_speeds(records: Iterable[SpeedRecord]) -> dict[str, bytes]:
    """File name -> content of the figures of speed: a token in a stream, and a training step against the length.

    Each figure shows one task's sizes, one number of tokens per batch, and one device. Only speed records of
    `ssm-bench bench stream`, `bench length` and `bench segments` are used.
    """
    records = list(records)
    figures = _segment_figures(record for record in records if record.benchmark == SEGMENTS.name)
    for kind in (STREAM, LENGTH):
        shown: dict[tuple[str, int, str, str], dict[str, SpeedRecord]] = {}
        for record in records:
            if record.benchmark == kind.name and record.shapes(kind.panels[0][0]):
                tokens = record.sizes.get("tokens", 0)
                place = (record.task or "", tokens, record.device.platform, record.device.kind)
                half = " (bf16)" if speed.activations(record) == "bf16" else ""
                shown.setdefault(place, {})[speed.model_of(record) + half] = record
        for (task, tokens, platform, device), models in sorted(shown.items()):
            name = "-".join([kind.name, task, *([f"{tokens}"] if tokens else []), platform])
            of = [
                f"sizes of {layout.TASKS.get(task, task)}",
                *([f"{tokens:,} tokens a batch"] if tokens else []),
                device,
            ]
            title = " · ".join([kind.title, *of])
            figures[f"{name}-{len(figures)}" if name in figures else name] = _speeds(models, title, kind)
    return _files(figures)


def _segment_figures(records: Iterable[SpeedRecord]) -> dict[str, Figure]:
    """Name -> figure of a training step in segments and at once, for each task and device."""
    shown: dict[tuple[str, str, str], list[SpeedRecord]] = {}
    for record in records:
        place = (record.task or "", record.device.platform, record.device.kind)
        shown.setdefault(place, []).append(record)
    figures = {}
    for (task, platform, device), of_place in sorted(shown.items()):
        # Settings of all records are a part of the title.
        common = set.intersection(*(set(record.overrides.items()) for record in of_place))
        lines = {}
        for record in of_place:
            changed = [f"--{name}={value}" for name, value in record.overrides.items() if (name, value) not in common]
            for segment in sorted({tuple(shape[1:]) for shape in record.shapes("temporary_bytes")}):
                how = f"segments of {segment[0]:,}" if segment else speed.whole(record)
                part = [m for m in record.measurements if tuple(m.shape[1:]) == segment]
                lines[", ".join([record.model or "", *changed, how])] = structs.replace(record, measurements=part)
        settings = [f"--{name}={value}" for name, value in sorted(common)]
        title = " · ".join([SEGMENTS.title, f"sizes of {layout.TASKS.get(task, task)}", *settings, device])
        name = f"{SEGMENTS.name}-{task}-{platform}"
        figures[f"{name}-{len(figures)}" if name in figures else name] = _speeds(lines, title, SEGMENTS)
    return figures


@dataclass(frozen=True)
class _Kind:
    """One kind of figure of speed: its benchmark, and the metric and title of each panel."""

    name: str
    title: str
    across: str
    panels: tuple[tuple[str, str], ...]


STREAM = _Kind(
    "stream",
    "One token of a single stream, against its position",
    "position in the stream (tokens)",
    (("latency_ms", "time of a token (ms)"), ("state_bytes", "state (bytes)")),
)
SEGMENTS = _Kind(
    "segments",
    "A training step on one sequence, at once and in segments",
    "length of the sequence (tokens)",
    (("step_ms", "time of a step (ms)"), ("temporary_bytes", "temporary memory (bytes)")),
)
LENGTH = _Kind(
    "length",
    "A training step against the length of its input",
    "length of the input (tokens)",
    (("step_ms", "time of a step (ms)"), ("temporary_bytes", "temporary memory (bytes)")),
)


def write(records: Iterable[RunRecord], preset: str, protocols: Iterable[str], root: Path | str) -> list[Path]:
    """Writes the figures of a preset and the hash of their records to results/figures/<preset>/; returns their paths.

    Args:
        records: all records of the preset; those of other presets are left out.
        preset: the preset.
        protocols: all protocols with records.
        root: the folder of all results.
    """
    records = list(records)
    drawn = {name: content for protocol in protocols for name, content in draw(records, preset, protocol).items()}
    return _write(drawn, root, preset)


def write_speeds(records: Iterable[SpeedRecord], root: Path | str) -> list[Path]:
    """Writes the figures of speed records to results/figures/speed/; returns their paths."""
    return _write(draw_speeds(records), root, "speed")


def write_table(records: Iterable[RunRecord], root: Path | str) -> list[Path]:
    """Writes the figures of the combined table to results/figures/table/; returns their paths."""
    records = [record for record in records if record.preset in layout.COMBINED]
    protocols = sorted({record.protocol for record in records})
    drawn = {f"{protocol}-accuracy-cost": _table_overview(records, protocol) for protocol in protocols}
    return _write(_files(drawn), root, layout.TABLE)


def _table_overview(records: list[RunRecord], protocol: str) -> Figure:
    """Test accuracy against training time on the six tasks, one panel each, for the models of Table II.

    Every model has its own marker. Markers of cells with less than a tenth of the published schedule are hollow, and a
    task without a finished run has an empty panel.
    """
    records = [run for run in records if run.protocol == protocol and run.task.name in layout.TASKS]
    titles = {name: title for name, title in layout.models(records).items() if title in layout.TABLE_TWO}
    cells = {place: cell for place, cell in aggregate.cells(records).items() if place[0] in titles and cell.accuracy}
    models = {name: title for name, title in titles.items() if any(model == name for model, _ in cells)}
    devices = sorted({run.device.kind for cell in cells.values() for run in cell.finished})
    title = f"Protocol {protocol} · {', '.join(devices)} · hollow: less than a tenth of the published schedule"
    if not all(cell.alone for cell in cells.values()):
        title += " · arrow: the device was shared, a run alone takes less time"
    with mpl.rc_context(STYLE):
        figure, panels = _panels(layout.TASKS, cells, title, "training time (device-seconds)", "test accuracy (%)")
        looks: dict[str, dict[str, Any]] = {
            model: {"color": COLORS[place % len(COLORS)], "marker": DISTINCT[place % len(DISTINCT)]}
            for place, model in enumerate(models)
        }
        for (model, task), cell in cells.items():
            accuracy, interval = cell.accuracy or (0.0, None)
            seconds, shared = cell.device_seconds or 0.0, not cell.alone
            panels[task].errorbar(
                seconds,
                accuracy,
                yerr=interval,
                xerr=ARROW * seconds if shared else None,
                xuplims=shared,
                fmt=looks[model]["marker"],
                color=looks[model]["color"],
                ms=6,
                mfc="white" if cell.young else looks[model]["color"],
                mew=0.9,
                elinewidth=0.9,
                capsize=2,
            )
        for task, panel in panels.items():
            panel.set_xscale("log")
            costs = [run.cost.seconds_train for (_, of), cell in cells.items() if of == task for run in cell.finished]
            if costs:
                _log_axis(panel, costs)
                _chance(panel, cells, task)
            else:
                panel.set_axis_off()
                panel.text(0.5, 0.5, "no finished run yet", transform=panel.transAxes, ha="center", va="center")
        marks = [Line2D([], [], ls="", ms=6, **looks[model]) for model in models]
        legend(figure, [*marks, _chance_line()], [*models.values(), "chance"])
        return figure


def _write(drawn: dict[str, bytes], root: Path | str, name: str) -> list[Path]:
    """Writes figures and the hashes for `ssm-bench verify`, which are written even if there are no figures."""
    folder, sources = layout.figures_of(root, name)
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in drawn.items():
        (folder / file).write_bytes(content)
    (folder / store.DRAWN).write_text(store.hashes(drawn), encoding="utf-8")
    (folder / store.DRAWN_FROM).write_text(store.fingerprint(sources) + "\n", encoding="utf-8")
    return [folder / file for file in drawn]


def _speeds(models: dict[str, SpeedRecord], title: str, kind: _Kind) -> Figure:
    """Two panels with logarithmic axes, with one line per model."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, ROW_HEIGHT + 0.9), layout="constrained")
        figure.suptitle(wrapped(title, WIDTH), fontsize=8.5, x=0.01, ha="left")
        order = sorted(models)
        for panel, (metric, title) in zip(figure.subplots(1, 2), kind.panels, strict=True):
            for place, model in enumerate(order):
                if points := _along(models[model], metric):
                    panel.plot(*zip(*points, strict=True), **style(place), ms=4, mec="white", mew=0.4)
            panel.set_title(title, loc="left", fontweight="bold")
            panel.set_xlabel(kind.across)
            panel.set_xscale("log", base=2)
            panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _binary(value)))
            panel.set_yscale("log")
            _logarithmic(panel.yaxis, *panel.get_ylim())
        handles = [Line2D([], [], **style(place), ms=5, mec="white", mew=0.5) for place in range(len(order))]
        legend(figure, handles, order)
        return figure


def _along(record: SpeedRecord, metric: str) -> list[tuple[int, float]]:
    """A metric against the length or the position."""
    points = [(shape[0], record.value(metric, shape=shape)) for shape in record.shapes(metric)]
    return [(length, value) for length, value in points if value]


def _logarithmic(axis: Axis, low: float, high: float) -> None:
    """Labels of a logarithmic axis: the fewer decades, the more labels between powers of ten."""
    between = range(1, 10) if high / low < 2 else (1, 2, 5) if high / low < 50 else (1,)
    axis.set_major_locator(LogLocator(subs=between))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axis.set_minor_formatter(NullFormatter())


def _binary(value: float) -> str:
    """65536 as 64Ki."""
    for unit, factor in (("Mi", 2**20), ("Ki", 2**10)):
        if value >= factor:
            return f"{value / factor:g}{unit}"
    return f"{value:g}"


def _learning_curves(records: list[RunRecord], cells: dict[tuple[str, str], Cell], title: str) -> Figure | None:
    """Validation accuracy against the share of the published schedule: mean over the finished seeds, and their range.

    Every unfinished seed has a separate thin line, so that it does not shorten the mean. A cross marks a failure.
    """
    curved = {place: cell for place, cell in cells.items() if any(learning_curve(run) for run in cell.runs)}
    if not curved:
        return None
    with mpl.rc_context(STYLE):
        models, tasks = _names(records, curved)
        seeds = _seeds(curved)
        if len(set(seeds.values())) == 1:
            title += f" · seeds: {next(iter(seeds.values()))}"
        others = [run for cell in curved.values() for run in (*cell.failed, *cell.unfinished) if learning_curve(run)]
        if others:
            title += " · thin: a seed without a score, ×: failed there"
        figure, panels = _panels(tasks, cells, title, _share_label(cells), "validation accuracy (%)")
        for (model, task), cell in curved.items():
            panel = panels[task]
            line = {name: look for name, look in _look(records, model).items() if name != "marker"}
            if not (mean := _mean_curve(cell.finished)).empty:
                panel.fill_between(mean["share"], mean["min"], mean["max"], color=line["color"], alpha=0.18, lw=0)
                panel.plot(mean["share"], mean["mean"], **line)
            for run in (*cell.failed, *cell.unfinished):
                if points := learning_curve(run):
                    panel.plot(*zip(*points, strict=True), **line, lw=0.7)
                    if run in cell.failed:
                        panel.plot(*points[-1], "x", color=line["color"], ms=6, mew=1.6)
        for task, panel in panels.items():
            _chance(panel, cells, task)
            panel.set_xlim(left=0)
            panel.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
            panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        lines = [Line2D([], [], color=_look(records, m)["color"], ls=_look(records, m)["ls"]) for m in models]
        counted = len(set(seeds.values())) > 1
        labels = [f"{words} (seeds: {seeds[model]})" if counted else words for model, words in models.items()]
        legend(figure, [*lines, _chance_line()], [*labels, "chance"])
        return figure


def _mean_curve(runs: Iterable[RunRecord]) -> pd.DataFrame:
    """Columns share, mean, min, max (percent) over seeds, at the steps at which all seeds have a point."""
    curves = [points for run in runs if (points := learning_curve(run))]
    frame = pd.DataFrame([point for points in curves for point in points], columns=["share", "accuracy"])
    frame = frame.groupby("share")["accuracy"].agg(["mean", "min", "max", "count"]).reset_index()
    return frame.loc[frame["count"] == len(curves)]


def _seeds(cells: dict[tuple[str, str], Cell]) -> dict[str, str]:
    """Model -> finished seeds of all seeds, such as "3" or "2 of 3"; if its tasks differ, all values."""
    texts: dict[str, set[str]] = {}
    for (model, _), cell in cells.items():
        finished, every = len(cell.finished), len(cell.runs)
        texts.setdefault(model, set()).add(f"{finished}" if finished == every else f"{finished} of {every}")
    return {model: ", ".join(sorted(found)) for model, found in texts.items()}


def _share_label(cells: dict[tuple[str, str], Cell]) -> str:
    known = {run.steps.published is not None for cell in cells.values() for run in cell.runs}
    if known == {True}:
        return "share of published schedule (%)"
    if known == {False}:
        return "share of planned steps (%)"
    return "share of published schedule,\nelse of planned steps (%)"


def _accuracy_against(
    records: list[RunRecord],
    cells: dict[tuple[str, str], Cell],
    title: str,
    label: str,
    measure: Callable[[RunRecord], float | None],
    timed: bool = False,
) -> Figure | None:
    """Test accuracy against a positive quantity, on a logarithmic axis; bars are 95 % intervals over seeds.

    If the quantity is a time, markers distinguish the devices of the runs, and an arrow marks a shared device.
    """
    points = {}
    for place, cell in cells.items():
        values = [value for run in cell.finished if (value := measure(run))]
        if values and cell.accuracy:
            points[place] = (sum(values) / len(values), *cell.accuracy)
    if not points:
        return None
    with mpl.rc_context(STYLE):
        models, tasks = _names(records, points)
        devices = sorted({run.device.kind for place in points for run in cells[place].finished})
        shared = {place for place in points if timed and not cells[place].alone}
        if timed:
            title += f" · {devices[0]}" + (f" (hollow: {', '.join(devices[1:])})" if len(devices) > 1 else "")
        if shared:
            title += " · arrow: the device was shared, alone it takes less"
        figure, panels = _panels(tasks, cells, title, label, "test accuracy (%)")
        for (model, task), (value, accuracy, interval) in points.items():
            look = _look(records, model)
            filled = not timed or cells[model, task].finished[0].device.kind == devices[0]
            panels[task].errorbar(
                value,
                accuracy,
                yerr=interval,
                fmt=look["marker"],
                color=look["color"],
                ms=5.5,
                elinewidth=0.9,
                capsize=2,
                mfc=look["color"] if filled else "white",
                mec="white" if filled else look["color"],
                mew=0.5 if filled else 1.0,
                xerr=ARROW * value if (model, task) in shared else None,
                xuplims=(model, task) in shared,
            )
        for task, panel in panels.items():
            panel.set_xscale("log")
            _log_axis(panel, [value for (_, of), (value, *_) in points.items() if of == task])
            _chance(panel, cells, task)
        looks = [_look(records, model) for model in models]
        marks = [
            Line2D([], [], color=o["color"], marker=o["marker"], ls="", ms=5.5, mec="white", mew=0.5) for o in looks
        ]
        legend(figure, [*marks, _chance_line()], [*models.values(), "chance"])
        return figure


def _names(records: list[RunRecord], places: Iterable[tuple[str, str]]) -> tuple[dict[str, str], dict[str, str]]:
    """The models and tasks of a figure, name -> title, in the order of the table."""
    places = list(places)
    models = {name: title for name, title in layout.models(records).items() if any(m == name for m, _ in places)}
    tasks = {name: title for name, title in layout.tasks(records).items() if any(t == name for _, t in places)}
    return models, tasks


def _look(records: list[RunRecord], model: str) -> dict:
    """Color, marker and dash of a model, from its position among all models of the preset."""
    return style(list(layout.models(records)).index(model))


def style(place: int) -> dict:
    """Color, marker and dash of line number `place`."""
    turn, color = divmod(place, len(COLORS))
    markers = MARKERS if turn < len(MARKERS) else FURTHER_MARKERS
    return {
        "color": COLORS[color],
        "marker": markers[(color + turn) % len(markers)],
        "ls": DASHES[turn % len(DASHES)],
    }


def _panels(
    tasks: dict[str, str], cells: dict[tuple[str, str], Cell], title: str, across: str, up: str
) -> tuple[Figure, dict[str, Axes]]:
    """One empty panel per task, with a label if the data are not official."""
    columns = min(PANELS_A_ROW, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    # `Figure` instead of pyplot avoids global state and the choice of a backend.
    figure = Figure(figsize=(WIDTH * max(columns, 2) / PANELS_A_ROW, ROW_HEIGHT * rows + 0.8), layout="constrained")
    title = wrapped(title, figure.get_figwidth())
    figure.suptitle(title, fontsize=8.5, x=0.01, ha="left")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    panels = dict(zip(tasks, axes, strict=False))
    for unused in axes[len(tasks) :]:
        unused.set_visible(False)
    for task, panel in panels.items():
        kinds = sorted({run.data.kind for (_, of), cell in cells.items() if of == task for run in cell.runs})
        panel.set_title(tasks[task], loc="left", fontweight="bold")
        if kinds != ["official"]:
            panel.set_title("/".join(kinds), loc="right", fontsize=7)
        panel.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        place = list(tasks).index(task)
        if place % columns == 0:
            panel.set_ylabel(up)
        if place + columns >= len(tasks):
            panel.set_xlabel(across)
    return figure, panels


def _chance(panel: Axes, cells: dict[tuple[str, str], Cell], task: str) -> None:
    classes = next(cell.runs[0].task.classes for (_, of), cell in cells.items() if of == task)
    chance = 100 / classes
    panel.axhline(chance, color=CHANCE_COLOUR, lw=0.8, ls=(0, (1, 1.5)), zorder=1)
    # A minimum range, so that noise of curves at chance does not look large.
    panel.dataLim.update_from_data_y([chance - 2.5, chance + 2.5], ignore=False)
    panel.autoscale_view()
    panel.margins(y=0.08)


def _chance_line() -> Line2D:
    """The legend entry of the line of chance."""
    return Line2D([], [], color=CHANCE_COLOUR, lw=0.8, ls=(0, (1, 1.5)))


def _log_axis(panel: Axes, values: list[float]) -> None:
    """Ticks at 1, 2 and 5 of each decade, with short labels, and a range wide enough for two of them."""
    low, high = min(values), max(values)
    widen = max(1.25, math.sqrt(6 * low / high))
    panel.set_xlim(low / widen, high * widen)
    _logarithmic(panel.xaxis, *panel.get_xlim())


def _short(value: float) -> str:
    """1500 as 1.5k, 2000000 as 2M."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{value / factor:g}{unit}"
    return f"{value:g}"


def legend(figure: Figure, handles: Sequence[Artist], labels: list[str]) -> None:
    """A legend below all panels, with as many columns as fit the width of the figure."""
    # A line and the space around it take less than 0.4 inches.
    fitting = max(1, int(figure.get_figwidth() / (0.4 + max(map(len, labels)) / CHARACTERS_AN_INCH)))
    columns = math.ceil(len(labels) / math.ceil(len(labels) / min(LEGEND_COLUMNS, fitting)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=1.8)


def wrapped(title: str, width: float) -> str:
    """A title wrapped to fit a figure of this width in inches."""
    return textwrap.fill(title, int(CHARACTERS_AN_INCH * width))


def svg(figure: Figure) -> bytes:
    """A figure as SVG, the same bytes each time."""
    return _bytes(figure, "svg", {"Date": None, "Creator": None})


def _files(figures: dict[str, Figure]) -> dict[str, bytes]:
    """Each figure as SVG and PNG."""
    files = {}
    for name, figure in figures.items():
        files[f"{name}.svg"] = svg(figure)
        files[f"{name}.png"] = _bytes(figure, "png", {"Software": None})
    return files


def _bytes(figure: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()
