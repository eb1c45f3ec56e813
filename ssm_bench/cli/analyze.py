"""`ssm-bench analyze`: properties of models, as tables and figures."""

import argparse
import re
from pathlib import Path
from typing import Any

from ssm_bench.cli import _options
from ssm_bench.errors import UserError, unknown_name

HELP = "draw the eigenvalues of models and other properties, at initialization or after training"
EXAMPLE = """examples:
  ssm-bench analyze spectrum --model s4,s4d,s5,lru,s6,rg_lru
  ssm-bench analyze spectrum --run results/models/quick/listops/s5/NAME --name spectrum-s5
  ssm-bench analyze memory --model s4,s5,lru,s6,transformer --task text
  ssm-bench analyze hippo
  ssm-bench analyze views
  ssm-bench analyze damping
  ssm-bench analyze probes

spectrum draws the eigenvalues of the discrete dynamics on the unit disk, and their time constants.
memory draws the gradient of the last output with respect to the input k steps earlier, and the smallest k for which the
distances 0 to k hold 90 % of its sum.
hippo reconstructs a random signal from the states of HiPPO-LegS, LegT, FouT and LagT, and draws the error by order.
views computes the output of one linear system as a differential equation, a recurrence and a convolution.
damping runs two sequences of two tokens through a mass on a spring with low, high and negative damping.
locality draws accuracy against the number of positions that a model sees at once.
selectivity draws accuracy against the initial time constant.
probes draws accuracy by model, probe and state size.
The last three use the records of a plan, which `ssm-bench sweep --plan` trains (experiments/locality.yaml,
selectivity.yaml and probes.yaml, or --plan).
By default, models have initial parameters and published sizes, and their inputs are synthetic. --data and
--config.x.y=value change this. --run adds a trained model: its record, or a folder from `ssm-bench export`.
Each analysis writes results/analysis/<name>.svg and the tables with its data as CSV."""

#: Kinds that read the records of a plan, whose file has their name.
OF_PLANS = ("locality", "selectivity", "probes")
KINDS = ("spectrum", "memory", "hippo", "views", "damping", *OF_PLANS)
#: Kinds that look at models.
OF_MODELS = ("spectrum", "memory")

#: Default number of inputs.
SEQUENCES = {"memory": "4"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this verb."""
    parser.add_argument("what", help=f"{', '.join(KINDS)}, as below")
    parser.add_argument("--model", type=_options.names, default=[], help="models, comma-separated")
    parser.add_argument("--task", default="listops", help="task of the recipes and inputs (default: listops)")
    parser.add_argument(
        "--run", type=Path, action="append", default=[], dest="runs", help="a trained model: a record or a folder"
    )
    parser.add_argument("--checkpoints", type=Path, help="checkpoints of --run (default: next to the results)")
    parser.add_argument("--preset", default="paper", help="sizes of models: paper (default) or quick")
    parser.add_argument("--data", default="synthetic", help="synthetic (default), real, or auto")
    parser.add_argument("--seed", type=int, default=0, help="seed of parameters and inputs (default: 0)")
    parser.add_argument("--sequences", default="", metavar="N", help="number of inputs (default: 1; for memory: 4)")
    parser.add_argument("--length", default="1024", metavar="N", help="maximum length of inputs (default: 1024)")
    parser.add_argument("--part", default="", help="for memory: mixer (default) or the block around it")
    parser.add_argument(
        "--plan", type=Path, help=f"for {', '.join(OF_PLANS)}: the plan (default: experiments/<kind>.yaml)"
    )
    parser.add_argument("--name", default="", help="name of the files (default: the kind of analysis)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all results (%(default)s)")
    _options.accept_overrides(parser)


def run(options: argparse.Namespace) -> int:
    """Computes, prints a summary and writes the files.

    Raises:
        UserError: an unknown name or an impossible size, no model, no record, or files that cannot be read or written.
    """
    if options.what not in KINDS:
        raise unknown_name("analyze", options.what, KINDS)
    if options.name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", options.name):
        raise UserError(f"--name takes letters, digits, '.', '_' and '-'; got {options.name!r}")
    for flag, given in (("model", options.model), ("run", options.runs)):
        if given and options.what not in OF_MODELS:
            raise UserError(f"analyze {options.what} takes no --{flag}; it is for {', '.join(OF_MODELS)}")
    if options.plan and options.what not in OF_PLANS:
        raise UserError(f"analyze {options.what} takes no --plan; it is for {', '.join(OF_PLANS)}")
    if options.part and options.what != "memory":
        raise UserError(f"analyze {options.what} takes no --part; it is for memory")
    if options.seed < 0:
        raise UserError(f"--seed takes a whole number from 0; got {options.seed}")
    options.sequences = options.sequences or SEQUENCES.get(options.what, "1")
    if options.what in OF_MODELS and not (options.model or options.runs):
        raise UserError(f"analyze {options.what} takes --model, like s4,s5, or --run")
    _options.prepare_jax()
    from ssm_bench.report import analysis
    from ssm_bench.training.checks import writable

    writable(options.results)
    draw = {"spectrum": _spectrum, "memory": _memory, "hippo": _hippo, "views": _views, "damping": _damping}
    tables, figure = draw.get(options.what, _plan)(options)
    for path in analysis.write(options.name or options.what, tables, figure, options.results):
        print(f"wrote {path}")
    return 0


def _spectrum(options: argparse.Namespace) -> Any:
    from ssm_bench.analysis.spectrum import CLOSE, spectrum
    from ssm_bench.report import analysis

    points, summary = spectrum(_subjects(options), seed=options.seed)
    for row in summary.to_dict("records"):
        print(
            f"{row['model']}, layer {row['layer']}: {row['eigenvalues']:,} eigenvalues, {100 * row['inside']:.4g} % "
            f"inside the unit circle, {100 * row['close']:.4g} % there with |λ| of at least {CLOSE}, "
            f"time constants {row['steps_05']:.3g} to {row['steps_95']:.3g} steps (90 %)"
        )
    title = f"Eigenvalues of the discrete dynamics · {_data_words(options)}"
    return {"": points, "-summary": summary}, analysis.draw_spectrum(points, summary, title)


def _memory(options: argparse.Namespace) -> Any:
    from ssm_bench.analysis.memory import PARTS, memory
    from ssm_bench.report import analysis

    part = options.part or PARTS[0]
    if part not in PARTS:
        raise unknown_name("--part", part, PARTS)
    curves, summary = memory(_subjects(options), part=part, seed=options.seed)
    for row in summary.to_dict("records"):
        print(
            f"{row['model']}, layer {row['layer']}: effective memory length {row['memory']:,}, inputs of "
            f"{row['length']:,} steps"
        )
    title = f"Gradient of the last output by the input k steps back, {part}s · {_data_words(options)}"
    return {"": curves, "-summary": summary}, analysis.draw_memory(curves, summary, title)


def _hippo(options: argparse.Namespace) -> Any:
    from ssm_bench.analysis.hippo import PICTURED, reconstruction
    from ssm_bench.report import analysis

    curves, errors = reconstruction(seed=options.seed)
    for name, of_name in errors.groupby("matrix", sort=False):
        found = ", ".join(
            f"{error:.3g} at order {order}" for order, error in zip(of_name["order"], of_name["error"], strict=True)
        )
        print(f"{name}: relative error {found}")
    title = f"The history of a signal (gray), reconstructed from the HiPPO state of order {PICTURED}"
    return {"": curves, "-summary": errors}, analysis.draw_hippo(curves, errors, title)


def _views(options: argparse.Namespace) -> Any:
    from ssm_bench.analysis.views import ORDER, views
    from ssm_bench.report import analysis

    curves, differences = views(seed=options.seed)
    for row in differences.to_dict("records"):
        print(
            f"{row['steps']:,.0f} steps: recurrence and differential equation differ by {row['recurrent']:.2g}, "
            f"convolution and recurrence by {row['convolutional']:.2g}, the bilinear rule by {row['bilinear']:.2g}"
        )
    title = f"One linear system of {ORDER} states in three views · gray: its input"
    return {"": curves, "-summary": differences}, analysis.draw_views(curves, differences, title)


def _damping(options: argparse.Namespace) -> Any:
    from ssm_bench.analysis.damping import damping
    from ssm_bench.report import analysis

    curves, eigenvalues = damping()
    for name, of_system in curves.groupby("system", sort=False):
        modulus = eigenvalues.loc[eigenvalues["system"] == name, "modulus"].max()
        first, last = of_system["distance"].iloc[[0, -1]]
        print(f"{name}: largest |λ| {modulus:.4f}; the states are {first:.3g} apart at first, {last:.3g} at the end")
    title = "Two sequences with opposite first and equal second tokens, through a mass on a spring with a damper"
    return {"": curves, "-summary": eigenvalues}, analysis.draw_damping(curves, eigenvalues, title)


#: What the figures of plans show.
PLAN_TITLES = {
    "locality": "Accuracy against the positions that a model sees at once · hollow: no limit",
    "selectivity": "Accuracy against the initial time constant · 95 % intervals over seeds",
    "probes": "Accuracy by model and probe · dotted: chance",
}


def _plan(options: argparse.Namespace) -> Any:
    from ssm_bench.analysis import designed
    from ssm_bench.config import experiments_folder
    from ssm_bench.report import analysis
    from ssm_bench.sweep import forecast, plan

    compute, draw = {
        "locality": (designed.locality, analysis.draw_locality),
        "selectivity": (designed.selectivity, analysis.draw_selectivity),
        "probes": (designed.probes, analysis.draw_probes),
    }[options.what]
    path = options.plan or experiments_folder() / f"{options.what}.yaml"
    cells = [cell for group in plan.read(path) for cell in group.cells]
    known = forecast.Forecast.read(options.results, Path("checkpoints"), forecast.UNKNOWN)
    found = [known.finished(cell) for cell in cells]
    # Two cells of a plan may be the same run.
    records = list({(run.model.name, run.task.name, run.name): run for runs in found for run in runs}.values())
    if not records:
        shown = options.plan or f"experiments/{path.name}"
        raise UserError(
            f"analyze {options.what}: {options.results} has no finished run of {shown}; train some with "
            f"`ssm-bench sweep --plan {shown}`"
        )
    table = compute(records)
    print(f"{sum(map(bool, found))} of {len(cells)} cells of the plan are finished")
    print(table.drop(columns="records").to_string(index=False, float_format="{:.4g}".format))
    devices = ", ".join(sorted({run.device.kind for run in records}))
    return {"": table}, draw(table, f"{PLAN_TITLES[options.what]} · {devices}")


def _subjects(options: argparse.Namespace) -> Any:
    """The models, one after another."""
    from ssm_bench import api
    from ssm_bench.analysis import subject
    from ssm_bench.config import override
    from ssm_bench.data import spec
    from ssm_bench.sweep.recipe import resolve

    _options.once("--model", options.model)
    sizes = {name: _options.count(f"--{name}", getattr(options, name)) for name in ("sequences", "length")}
    configs = []
    for model in options.model:
        config = resolve(model, options.task, preset=options.preset, data=options.data, seed=options.seed)
        # Stand-ins are shorter than the task, unless told its length.
        config.task.max_length = config.task.max_length or spec(options.task).max_length
        configs.append(override(config, options.overrides))
    for config in configs:
        yield subject.initialized(config, **sizes)
    for path in options.runs:
        yield subject.trained(api.load(path, checkpoints=options.checkpoints), **sizes)


def _data_words(options: argparse.Namespace) -> str:
    """What a figure says of its inputs."""
    from ssm_bench.report.layout import TASKS

    trained = " and after training" if options.runs else ""
    if options.runs and not options.model:
        return "after training"
    return f"{TASKS.get(options.task, options.task)}, at initialization{trained}"
