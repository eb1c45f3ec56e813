"""`ssm-bench train`: one model on one task."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ssm_bench.cli import _options
from ssm_bench.errors import UserError

if TYPE_CHECKING:
    from ssm_bench.record import RunRecord

HELP = "train one model on one task and write its record"
EXAMPLE = """example:
  ssm-bench train --model s5 --task text --data synthetic --config.model.d_model=64 --config.train.steps=100

The same command resumes a run that was stopped. --preset quick takes a toy-size model.

exit codes: 0 the run is finished, now or before; 1 it failed (status diverged, oom or error);
3 it was interrupted, and the same command resumes it; 2 an invalid command; 130 ended by a second Ctrl-C.
A finished run is not repeated, except under quick and custom if the code has changed since."""

STATUS_CODES = {"ok": 0, "partial": 3}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this verb."""
    parser.add_argument("--model", required=True, help="see `ssm-bench list models`; or a mixer, package.module:Class")
    parser.add_argument("--task", required=True, help="see `ssm-bench list tasks`")
    parser.add_argument("--preset", default="custom", help="custom (default), quick, budget or paper")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--show-config", action="store_true", help="print the resolved configuration and exit")
    keep = "write the trained model of a finished run to results/models, as `ssm-bench export` does"
    parser.add_argument("--keep-model", action="store_true", help=keep)
    start = "start from the weights that `ssm-bench pretrain` wrote; the preset of the record is then `pretrained`"
    parser.add_argument("--init-from", type=Path, metavar="DIR", help=start)
    _options.add_cell_arguments(parser)
    several = parser.add_argument_group("one run by several processes", "start the same command once per process")
    where = "address of process 0, or auto: from the environment of SLURM, Open MPI or Kubernetes"
    several.add_argument("--coordinator", default="", metavar="HOST:PORT", help=where)
    several.add_argument("--processes", default="", metavar="N", help="number of processes")
    several.add_argument("--process", default="", metavar="I", help="index of this process, from 0")


def run(options: argparse.Namespace) -> int:
    """Runs the verb; returns the code that `EXAMPLE` lists."""
    _options.prepare_jax(options.preset, cache=options.compilation_cache)
    from ssm_bench.record import validate
    from ssm_bench.sweep.cells import Cell, opened, summary
    from ssm_bench.sweep.progress import Progress, Silent, parse_duration
    from ssm_bench.training import pretrained, processes, provenance, tracking
    from ssm_bench.training.checks import writable
    from ssm_bench.training.run import earlier, outdated, revision_words
    from ssm_bench.training.run import run as run_cell
    from ssm_bench.training.stop import Stopped

    devices = _devices(options)
    deadline = parse_duration("--deadline", options.deadline) if options.deadline else None
    choices = _options.choices(options)
    config = choices.config(Cell(model=options.model, task=options.task, seed=options.seed))
    first = processes.first()
    if options.show_config:
        if first:
            print(config)
        return 0

    def check() -> None:
        # Before data are downloaded or generated, which may take long.
        tracking.check(options.track)
        writable(options.results, options.checkpoints)
        provenance.note()

    def opened_here() -> tuple:
        found, dataset = opened(config)
        weights = pretrained.read(options.init_from) if options.init_from else None
        return weights.continued(found, dataset) if weights else found, dataset, weights

    def finished() -> dict | None:
        record = earlier(config, dataset, options.results, devices=devices)
        return record and record.to_dict()

    processes.lead(check)
    with processes.stop_at(deadline) as stop:
        config, dataset, weights = processes.everywhere(opened_here)
        # Of several processes, the first may be the only one that sees the folder of results.
        record = None if options.rerun else processes.lead(finished)
        if record:
            record = validate(record)
            if not (why := outdated(record)):
                words = f"{summary(record)}, {revision_words(record)}"
                if first:
                    print(f"finished before (--rerun runs it again): {words}")
                    _keep(record, options)
                return STATUS_CODES.get(record.status, 1)
            if first:
                print(f"runs again: {why}")
        progress = Progress(f"{options.model} {options.task} seed {options.seed}", None if first else Silent())
        try:
            (record,) = run_cell(
                config,
                dataset,
                results=options.results,
                checkpoints=options.checkpoints,
                stop=stop,
                tell=progress,
                afresh=options.rerun,
                devices=devices,
                track=options.track,
                init=weights.into if weights else None,
            )
        except Stopped as stopped:
            if first:
                print(f"{stopped} before the model was built: nothing has changed")
            return STATUS_CODES["partial"]
        progress.end(summary(record))
    if first:
        print(summary(record))
        _keep(record, options)
    return STATUS_CODES.get(record.status, 1)


def _devices(options: argparse.Namespace) -> int:
    """The number of devices of all processes of the run; connects the processes.

    Raises:
        UserError: an invalid number, or processes that cannot connect.
    """
    if not options.coordinator:
        for flag in ("process", "processes"):
            if getattr(options, flag):
                raise UserError(f"--{flag} requires --coordinator, the address of process 0")
        return _options.count("--devices", options.devices)
    import jax

    from ssm_bench.training import processes

    if options.coordinator == "auto":
        if options.process or options.processes:
            raise UserError("--coordinator auto determines --processes and --process itself: omit them")
        processes.join("auto")
    else:
        host, _, port = options.coordinator.rpartition(":")
        if not host or not port.isdecimal():
            raise UserError(f"--coordinator takes HOST:PORT, or auto; got {options.coordinator!r}")
        number = _options.count("--processes", options.processes)
        # No text of digits is shorter than that of a number below it.
        known = [str(i) for i in range(number)] if len(options.process) <= len(str(number)) else []
        if options.process not in known:
            raise UserError(f"--process takes a whole number from 0 to {number - 1}; got {options.process!r}")
        processes.join(options.coordinator, number, int(options.process))
    devices = jax.device_count()
    if options.devices not in ("1", str(devices)):
        raise UserError(
            f"--devices is {devices} with --coordinator, all devices of all processes: omit it; got {options.devices}"
        )
    return devices


def _keep(record: "RunRecord", options: argparse.Namespace) -> None:
    """Writes the model of a finished run, if --keep-model is set."""
    if options.keep_model and record.status == "ok":
        from ssm_bench.training import trained

        kept = trained.kept_folder(record, options.results)
        print(f"wrote {trained.of_checkpoint(record, options.checkpoints).save(kept)}")
