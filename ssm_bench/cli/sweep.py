"""`ssm-bench sweep`: many cells of the table."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from ssm_bench.cli import _options
from ssm_bench.errors import UserError, unknown_name

if TYPE_CHECKING:
    from ssm_bench.sweep.cells import Cell, Runner
    from ssm_bench.sweep.forecast import Outlook
    from ssm_bench.sweep.plan import Group
    from ssm_bench.training.stop import Stop

HELP = "train every model on every task, skipping what is finished, and write the table"
EXAMPLE = """examples:
  ssm-bench sweep --preset quick --models s5,lru --tasks text,image
  ssm-bench sweep --plan experiments/campaign.yaml --dry-run          what is missing, and what it will cost
  ssm-bench sweep --plan experiments/campaign.yaml --deadline 50m     the next cells that fit into 50 minutes
  ssm-bench sweep --preset paper --dry-run --gpus 8,64                the published schedules on 8 and 64 devices
  ssm-bench sweep --preset paper --status                             what is done, under way, failed and missing
  ssm-bench sweep --preset paper --engine slurm --nodes 4 --time 4h   four nodes of a cluster share the cells
  ssm-bench sweep --preset paper --engine ray                         cells as tasks of a Ray cluster

--jobs worker processes share the cells; by default, there is one per GPU or one per CPU core. With --devices N, each
worker trains on N GPUs at a time.
With --plan, the cells, their order and their settings come from a file; --groups, --models and --tasks select some.
After Ctrl-C or --deadline, the same command resumes the sweep."""

#: More worker processes than any machine has room for.
MOST_JOBS = 1024

#: Where the cells of a sweep run.
ENGINES = ("local", "slurm", "ray")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this verb."""
    parser.add_argument("--plan", type=Path, metavar="FILE", help="plan file, such as experiments/campaign.yaml")
    parser.add_argument("--groups", type=_options.names, default=[], help="comma-separated groups of the plan")
    parser.add_argument(
        "--gpus", type=_options.names, default=[], metavar="N", help="with --dry-run: time on N devices, e.g. 8,64"
    )
    parser.add_argument("--status", action="store_true", help="list the cells and their states, run nothing")
    _add_engine_arguments(parser)
    parser.add_argument("--preset", help="quick (default), budget, paper or custom")
    parser.add_argument("--models", type=_options.names, default=[], help="comma-separated, unique; default: all")
    parser.add_argument(
        "--tasks", type=_options.names, default=[], help="comma-separated, unique; default: all but probes"
    )
    parser.add_argument("--seeds", help="comma-separated, unique; default: 0")
    parser.add_argument(
        "--together", action="store_true", help="train all seeds of a cell in one program, for short steps"
    )
    parser.add_argument("--budget", default="", metavar="TIME", help="divide this time among the cells, e.g. 4h")
    parser.add_argument("--jobs", default="auto", metavar="N", help="worker processes (default: one per GPU or core)")
    parser.add_argument(
        "--compile-ahead", action="store_true", help="compile the next cell while a cell trains; not on TPUs"
    )
    parser.add_argument("--no-table", action="store_true", help="do not write the table at the end")
    _options.add_cell_arguments(parser)


def _add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that select where the sweep runs; they are not passed to its tasks on a cluster."""
    words = "list the cells and their expected cost, run nothing; with --engine slurm: print the job script"
    parser.add_argument("--dry-run", action="store_true", help=words)
    parser.add_argument("--engine", default="local", help="local (default), slurm (submit an array job) or ray")
    parser.add_argument(
        "--address", metavar="HOST:PORT", help="ray: head of the cluster (default: RAY_ADDRESS, or this machine)"
    )
    parser.add_argument("--nodes", metavar="N", help="slurm: tasks of the array, each on one node (default: 1)")
    parser.add_argument("--time", metavar="TIME", help="slurm: time limit of a task, e.g. 4h; then requeued")
    parser.add_argument("--partition", help="slurm: partition (default: the cluster's default)")
    parser.add_argument("--gpus-per-node", metavar="G", help="slurm: GPUs of each task (default: none requested)")
    parser.add_argument(
        "--sbatch", metavar="OPTIONS", help='slurm: more options, e.g. --sbatch="--account=me --mem=64G"'
    )


def run(options: argparse.Namespace) -> int:
    """Runs the verb; returns 1 if a cell failed, else 0."""
    _check_engine(options)
    if options.plan:
        return _run_plan(options)
    if options.groups:
        raise UserError("--groups requires --plan FILE")
    options.preset = options.preset or "quick"
    _options.prepare_jax(options.preset, tell=False, cache=options.compilation_cache)
    from ssm_bench.config import experiment_names
    from ssm_bench.data import tasks as known_tasks
    from ssm_bench.data.task import LRA
    from ssm_bench.sweep import cells, forecast, workers
    from ssm_bench.sweep.progress import parse_duration
    from ssm_bench.training.stop import Stop

    if options.budget and options.share:
        raise UserError("--budget and --share both set the length of training: use one of them")
    if options.together and options.budget:
        raise UserError("--budget times single seeds, but --together trains several in one program: use --share")
    deadline = parse_duration("--deadline", options.deadline) if options.deadline else None
    budget = parse_duration("--budget", options.budget) if options.budget else None
    choices = _options.choices(options)
    tasks = options.tasks or sorted((task.spec.name for task in known_tasks(suite=LRA)), key=_table_order)
    seeds = _options.seeds("0" if options.seeds is None else options.seeds)
    for flag, given in {"--models": options.models, "--tasks": tasks, "--seeds": seeds}.items():
        _options.once(flag, given)
    models = options.models or list(experiment_names())
    wanted = _with_recipes(cells.cells(models, tasks, seeds, together=options.together), options.preset)
    if options.status:
        return _status(options, _planned(options, models, tasks, seeds, cluster=True))
    if options.dry_run and options.engine != "slurm":
        counts = [_options.count("--gpus", text) for text in options.gpus]
        print(forecast.report(_planned(options, models, tasks, seeds), counts))
        return 0
    devices, jobs = _options.count("--devices", options.devices), _jobs(options)
    if options.together and devices > 1:
        raise UserError(f"--together uses one device, but --devices divides a run among several; got {devices}")
    runner = cells.Runner(
        choices=choices,
        results=options.results,
        checkpoints=options.checkpoints,
        rerun=options.rerun,
        devices=devices,
        track=options.track,
    )
    if options.engine == "slurm":
        return _submit(options, wanted, runner)
    prepare = partial(_options.prepare_jax, options.preset, tell=False, cache=options.compilation_cache)
    if options.engine == "ray":
        with Stop(deadline) as stop:
            reached = _on_ray(options, wanted, runner, stop, prepare)
        return _close(options, len(wanted), [status for _, status in reached])
    places = workers.places(jobs, devices)[: len(wanted)]
    if budget:
        runner = replace(runner, seconds=budget * len(places) / len(wanted))
    with Stop(deadline) as stop:
        reached = _sweep(wanted, runner, stop, places, prepare, options.compile_ahead)
    return _close(options, len(wanted), [status for _, status in reached])


def _planned(
    options: argparse.Namespace, models: list[str], tasks: list[str], seeds: list[int], *, cluster: bool = False
) -> list[tuple["Group", "Outlook"]]:
    """The cells of a sweep without a plan as one group, each with its `Outlook`.

    Args:
        options: options of the command.
        models: names of models.
        tasks: names of tasks.
        seeds: the seeds.
        cluster: whether the cells run on other machines, so that the device of this machine does not matter.
    """
    from ssm_bench.sweep import forecast, plan

    if options.budget:
        flag = "--status" if options.status else "--dry-run"
        raise UserError(f"{flag} needs a known schedule, which --budget does not set: use --share")
    group = plan.Group(
        group=options.preset,
        models=models,
        tasks=tasks,
        preset=options.preset,
        share=options.share,
        seeds=seeds,
        together=options.together,
        protocol=options.protocol,
        data=options.data,
        overrides=dict(setting.removeprefix("--config.").split("=", 1) for setting in options.overrides),
    )
    wanted = {(cell.model, cell.task) for cell in _with_recipes(group.cells, options.preset)}
    device = forecast.UNKNOWN if cluster else forecast.here()
    records = forecast.Forecast.read(options.results, options.checkpoints, device)
    return [(group, one) for group, one in records.planned([group]) if (one.cell.model, one.cell.task) in wanted]


def _check_engine(options: argparse.Namespace) -> None:
    """Checks that the options can be combined with the engine.

    Raises:
        UserError: names the options that cannot be combined.
    """
    if options.engine not in ENGINES:
        raise unknown_name("--engine", options.engine, ENGINES)
    if options.status and (options.dry_run or options.engine != "local"):
        other = "--dry-run" if options.dry_run else f"--engine {options.engine}"
        raise UserError(f"--status runs nothing: leave out {other}")
    of_engine = {"slurm": ("nodes", "time", "partition", "gpus_per_node", "sbatch"), "ray": ("address",)}
    for engine, names in of_engine.items():
        for name in names:
            if engine != options.engine and getattr(options, name) is not None:
                raise UserError(f"--{name.replace('_', '-')} requires --engine {engine}")
    if options.engine != "slurm":
        if options.gpus and not options.dry_run:
            raise UserError("--gpus requires --dry-run; --jobs and --devices set how many GPUs a sweep uses")
        if options.engine == "ray" and options.budget:
            raise UserError("--budget cannot be used with --engine ray, which has no common time: use --share")
        if options.engine == "ray" and options.compile_ahead:
            raise UserError("--compile-ahead cannot be used with --engine ray, which runs one process per device")
        if options.engine == "ray" and options.jobs != "auto":
            raise UserError("--jobs cannot be used with --engine ray, which runs one cell per GPU or core")
        return
    for name, instead in {
        "deadline": "use --time, the time limit of a task",
        "budget": "it divides the time of one machine, so use --share",
        "rerun": "every task would repeat every cell, so delete the records instead",
        "gpus": "omit --gpus to print the script, or --engine to print the cost",
    }.items():
        if getattr(options, name):
            raise UserError(f"--{name} cannot be used with --engine slurm: {instead}")
    if not options.time:
        raise UserError("--engine slurm requires --time, the time limit of a task, such as 4h")


def _status(options: argparse.Namespace, planned: list[tuple["Group", "Outlook"]]) -> int:
    """Lists the cells and their states."""
    from ssm_bench.sweep import slurm, status

    tasks = None
    try:
        tasks = slurm.queued(slurm.job_name(options.results))
    except UserError as error:
        # SLURM may be installed without a cluster, or not answer. Records and locks are sufficient for the list.
        print(f"warning: the tasks of SLURM are unknown: {error}", file=sys.stderr)
    print(status.report(planned, options.checkpoints, tasks))
    return 0


def _on_ray(
    options: argparse.Namespace, wanted: list["Cell"], runner: "Runner", stop: "Stop", prepare: Callable[[], None]
) -> list[tuple["Cell", str]]:
    """Runs cells as tasks of a Ray cluster; each task has its own working directory."""
    from ssm_bench.sweep import ray

    runner = replace(runner, results=options.results.resolve(), checkpoints=options.checkpoints.resolve())
    return ray.sweep(wanted, runner, stop, prepare, address=options.address or "")


def _submit(options: argparse.Namespace, wanted: list["Cell"], runner: "Runner") -> int:
    """Submits a sweep to SLURM, or prints the script of its job."""
    from ssm_bench.sweep import cells, slurm
    from ssm_bench.sweep.progress import parse_duration

    gpus = options.gpus_per_node
    array = slurm.Array(
        command=(sys.executable, "-m", "ssm_bench", *_without_engine(options.arguments)),
        folder=Path.cwd(),
        name=slurm.job_name(options.results),
        nodes=_options.count("--nodes", "1" if options.nodes is None else options.nodes),
        seconds=parse_duration("--time", options.time),
        partition=options.partition or "",
        gpus_per_node=0 if gpus is None else _options.count("--gpus-per-node", gpus),
        extra=slurm.words("--sbatch", options.sbatch or ""),
    )
    cells.check(wanted, runner)
    if options.dry_run:
        print(array.script, end="")
        return 0
    job = slurm.submit(array)
    print(
        f"submitted job {job}, named {array.name}: {len(wanted)} cells, shared by {array.nodes} "
        f"task{'s' * (array.nodes > 1)} of {options.time}; each is requeued until no cells are left\n"
        f"output: slurm-{job}_*.out; progress: squeue --job {job}, or the same sweep with --status; end: scancel {job}"
    )
    return 0


def _without_engine(arguments: list[str]) -> list[str]:
    """The same command for a task of the array."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    _add_engine_arguments(parser)
    return parser.parse_known_args(arguments)[1]


def _run_plan(options: argparse.Namespace) -> int:
    """Runs the cells of a plan that fit before the deadline, or lists all of them."""
    _options.prepare_jax(tell=False, cache=options.compilation_cache)
    from ssm_bench.sweep import cells, forecast, plan, workers
    from ssm_bench.sweep.progress import parse_duration
    from ssm_bench.training.stop import Stop

    for name in ("preset", "seeds", "share", "budget", "together", "data", "overrides"):
        if (value := getattr(options, name)) not in (None, "", []) and value is not False:
            flag = value[0] if name == "overrides" else f"--{name}"
            raise UserError(f"{flag} is set by the plan for each group of cells: edit {options.plan}")
    if options.protocol != "strict":
        raise UserError(f"--protocol is set by the plan for each group of cells: edit {options.plan}")
    deadline = parse_duration("--deadline", options.deadline) if options.deadline else None
    devices, jobs = _options.count("--devices", options.devices), _jobs(options)
    groups = plan.read(options.plan)
    for flag, chosen, there in (
        ("--groups", options.groups, {group.group for group in groups}),
        ("--models", options.models, {model for group in groups for model in group.models}),
        ("--tasks", options.tasks, {task for group in groups for task in group.tasks}),
    ):
        for name in chosen:
            if name not in there:
                raise unknown_name(f"{flag} of {options.plan}", name, there)
    chosen = [group for group in groups if not options.groups or group.group in options.groups]
    cluster = options.status or options.engine != "local"
    device = forecast.UNKNOWN if cluster else forecast.here()
    records = forecast.Forecast.read(options.results, options.checkpoints, device)
    planned = records.planned(chosen, options.models, options.tasks)
    if options.status:
        return _status(options, planned)
    if options.dry_run and options.engine != "slurm":
        print(forecast.report(planned, [_options.count("--gpus", text) for text in options.gpus]))
        return 0
    runner = cells.Runner(
        choices=groups[0].choices,
        results=options.results,
        checkpoints=options.checkpoints,
        rerun=options.rerun,
        devices=devices,
        track=options.track,
    )
    if options.engine == "slurm":
        return _submit(options, [one.cell for _, one in planned], runner)
    prepare = partial(_options.prepare_jax, tell=False, cache=options.compilation_cache)
    statuses: list[str] = []
    with Stop(deadline) as stop:
        if options.engine == "ray":
            # Ray assigns whole GPUs and ignores `per_gpu`.
            timed = [records.timed(group, one, 1) for group, one in planned]
            reached = _on_ray(options, timed, runner, stop, prepare)
            return _close(options, len(planned), [status for _, status in reached])
        # Workers take their part of a GPU's memory when they start, so other parts need other workers.
        for per_gpu, part in groupby(planned, key=lambda pair: pair[0].per_gpu):
            places = workers.places(jobs or per_gpu * len(workers.gpus()), devices)
            crowd = max(Counter(place.gpu for place in places if place.gpu).values(), default=1)
            wanted = [records.timed(group, one, crowd) for group, one in part]
            reached = _sweep(wanted, runner, stop, places[: len(wanted)], prepare, options.compile_ahead)
            statuses += [status for _, status in reached]
    return _close(options, len(planned), statuses)


def _jobs(options: argparse.Namespace) -> int:
    """The requested number of workers; 0: a number that suits the machine."""
    jobs = 0 if options.jobs == "auto" else _options.count("--jobs", options.jobs, also="auto")
    if jobs > MOST_JOBS:
        raise UserError(f"--jobs is at most {MOST_JOBS}; got {jobs}")
    return jobs


def _sweep(
    wanted: list["Cell"], runner: "Runner", stop: "Stop", places: list, prepare: Callable[[], None], ahead: bool
) -> list[tuple["Cell", str]]:
    """Runs cells in this process, or in worker processes if there are several places or cells are compiled ahead."""
    from ssm_bench.sweep import cells, workers

    if ahead and workers.on_tpu():
        raise UserError("--compile-ahead needs a second process on the device, but a TPU allows only one: omit it")
    if len(places) > 1 or ahead:
        return workers.sweep(wanted, runner, stop, places, prepare, ahead)
    return cells.sweep(wanted, runner, stop)


def _close(options: argparse.Namespace, cells: int, statuses: list[str]) -> int:
    """Counts the cells by status and writes the table; returns the exit code."""
    from ssm_bench.record import store

    left = cells - len(statuses)
    counts = {status: statuses.count(status) for status in sorted(set(statuses))}
    print(", ".join([f"{n} {status}" for status, n in counts.items()] + ([f"{left} not reached"] if left else [])))
    if left or counts.get("partial"):
        print("the same command continues")
    if not options.no_table:
        from ssm_bench.cli.table import show_and_write

        if any(store.paths(options.results, options.preset)):
            # A plan may hold several presets and protocols.
            show_and_write(options.results, options.preset, None if options.plan else options.protocol)
        else:
            print("no table yet: no run has left a record")
    return 1 if {"error", "diverged", "oom"} & set(counts) else 0


def _with_recipes(wanted: list["Cell"], preset: str) -> list["Cell"]:
    """The cells with a recipe, for presets that need one; all cells if none has one, so that the first fails."""
    from ssm_bench.config import has_recipe
    from ssm_bench.data import spec
    from ssm_bench.sweep.recipe import FREE

    for task in dict.fromkeys(cell.task for cell in wanted):
        spec(task)  # an unknown name is an error and is not left out
    if preset not in FREE:
        return wanted
    lacking: dict[str, dict[str, None]] = {}
    for cell in wanted:
        if not has_recipe(cell.model, cell.task):
            lacking.setdefault(cell.model, {})[cell.task] = None
    kept = [cell for cell in wanted if cell.task not in lacking.get(cell.model, {})]
    if not kept:
        return wanted
    for model, tasks in lacking.items():
        print(f"experiments/{model}.py has no recipe for {', '.join(tasks)}: left out", file=sys.stderr)
    return kept


def _table_order(task: str) -> tuple[int, str]:
    """Tasks with short sequences first, so that an interrupted sweep has results for most columns."""
    from ssm_bench.data import spec

    found = spec(task)
    return found.max_length * found.documents, task
