"""`ssm-bench sweep`: many cells of the table."""

import argparse
from functools import partial
from typing import TYPE_CHECKING

from ssm_bench.cli import _options
from ssm_bench.errors import UserError

if TYPE_CHECKING:
    from ssm_bench.sweep.cells import Cell

HELP = "train every model on every task, skipping what is finished, and write the table"
EXAMPLE = """example:
  ssm-bench sweep --preset quick --models s5,lru --tasks text,image

Worker processes share the cells, as many as --jobs says: by default one a GPU or one a CPU core. With --devices N
each of them trains on N GPUs at a time.
A sweep that is stopped (Ctrl-C, --deadline) goes on where it was with the same command."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this verb."""
    parser.add_argument("--preset", default="quick", help="quick (default), budget, paper or custom")
    parser.add_argument("--models", type=_options.names, default=[], help="comma-separated, each once; default: all")
    parser.add_argument("--tasks", type=_options.names, default=[], help="comma-separated, each once; default: all")
    parser.add_argument("--seeds", default="0", help="comma-separated, each once; default: 0")
    parser.add_argument(
        "--together", action="store_true", help="train all seeds of a cell in one program, where steps are short"
    )
    parser.add_argument("--budget", default="", metavar="TIME", help="spread this time over the cells, like 4h")
    parser.add_argument("--jobs", default="auto", metavar="N", help="worker processes (default: one a GPU, or a core)")
    parser.add_argument("--no-table", action="store_true", help="do not write the table at the end")
    _options.add_cell_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Runs the verb: 0 if every cell ended well or was stopped in time, 1 if one failed."""
    _options.prepare_jax(options.preset, tell=False)
    from ssm_bench import registry
    from ssm_bench.config import experiment_names
    from ssm_bench.record import store
    from ssm_bench.sweep import cells, workers
    from ssm_bench.sweep.progress import parse_duration
    from ssm_bench.train.stop import Stop

    if options.budget and options.share:
        raise UserError("--budget and --share both say how long to train: give one of them")
    if options.together and options.budget:
        raise UserError("--budget times a seed alone, which --together trains with others: give --share")
    deadline = parse_duration("--deadline", options.deadline) if options.deadline else None
    budget = parse_duration("--budget", options.budget) if options.budget else None
    choices = _options.choices(options)
    tasks = options.tasks or sorted(registry.names("tasks"), key=_table_order)
    seeds = _options.seeds(options.seeds)
    for flag, given in {"--models": options.models, "--tasks": tasks, "--seeds": seeds}.items():
        _options.once(flag, given)
    models = options.models or experiment_names()
    wanted = _with_recipes(cells.cells(models, tasks, seeds, together=options.together))
    devices = _options.count("--devices", options.devices)
    if options.together and devices > 1:
        raise UserError(f"--together fills one device, --devices divides a run among several: got {devices} of them")
    # 0: as many as suit the machine.
    jobs = 0 if options.jobs == "auto" else _options.count("--jobs", options.jobs, also="auto")
    places = workers.places(jobs, devices)[: len(wanted)]
    runner = cells.Runner(
        choices=choices,
        results=options.results,
        checkpoints=options.checkpoints,
        rerun=options.rerun,
        devices=devices,
        seconds=budget * len(places) / len(wanted) if budget else None,
    )
    with Stop(deadline) as stop:
        if len(places) > 1:
            reached = workers.sweep(
                wanted, runner, stop, places, partial(_options.prepare_jax, options.preset, tell=False)
            )
        else:
            reached = cells.sweep(wanted, runner, stop)
    left = len(wanted) - len(reached)
    counts = {status: [s for _, s in reached].count(status) for status in sorted({s for _, s in reached})}
    print(", ".join([f"{n} {status}" for status, n in counts.items()] + ([f"{left} not reached"] if left else [])))
    if not options.no_table:
        from ssm_bench.cli import table

        chosen = {"preset": options.preset, "protocol": options.protocol, "results": options.results}
        if any(store.paths(options.results, options.preset)):
            table.run(argparse.Namespace(**chosen, readme=None, check=False))
        else:
            print("no table yet: no run has left a record")
    return 1 if {"error", "diverged", "oom"} & set(counts) else 0


def _with_recipes(wanted: list["Cell"]) -> list["Cell"]:
    """The cells that a model has a recipe for; all, of which the first will say what is wrong, where there is none."""
    from ssm_bench.config import has_recipe
    from ssm_bench.data import spec

    for task in dict.fromkeys(cell.task for cell in wanted):
        spec(task)  # an unknown one is refused, not left out
    lacking: dict[str, dict[str, None]] = {}
    for cell in wanted:
        if not has_recipe(cell.model, cell.task):
            lacking.setdefault(cell.model, {})[cell.task] = None
    kept = [cell for cell in wanted if cell.task not in lacking.get(cell.model, {})]
    if not kept:
        return wanted
    for model, tasks in lacking.items():
        print(f"experiments/{model}.py has no recipe for {', '.join(tasks)}: left out")
    return kept


def _table_order(task: str) -> tuple[int, str]:
    """Short sequences first, so that a sweep that is cut short has seen most columns."""
    from ssm_bench.data import spec

    found = spec(task)
    return found.max_length * found.documents, task
