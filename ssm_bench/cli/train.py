"""`ssm-bench train`: one model on one task."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ssm_bench.cli import _options

if TYPE_CHECKING:
    from ssm_bench.record import RunRecord

HELP = "train one model on one task and write its record"
EXAMPLE = """example:
  ssm-bench train --model s5 --task text --data synthetic --config.model.d_model=64 --config.train.steps=100

The same command resumes a run that was stopped. --preset quick takes a toy-size model.

exit codes: 0 the run is finished, now or before; 1 it failed (its record says diverged, oom or error);
3 it was stopped before its end, and the same command continues it; 2 a mistake in the command, 130 interrupted.
A finished run is not run again, but under quick and custom when the code has changed since."""

STATUS_CODES = {"ok": 0, "partial": 3}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this verb."""
    parser.add_argument("--model", required=True, help="see `ssm-bench list models`; or a mixer, package.module:Class")
    parser.add_argument("--task", required=True, help="see `ssm-bench list tasks`")
    parser.add_argument("--preset", default="custom", help="custom (default), quick, budget or paper")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--show-config", action="store_true", help="print the resolved configuration and stop")
    keep = "write the trained model of a finished run to results/models, as `ssm-bench export` does"
    parser.add_argument("--keep-model", action="store_true", help=keep)
    start = "start from the weights that `ssm-bench pretrain` wrote; the preset of the record is then `pretrained`"
    parser.add_argument("--init-from", type=Path, metavar="DIR", help=start)
    _options.add_cell_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Runs the verb; returns the code that `EXAMPLE` lists."""
    _options.prepare_jax(options.preset, cache=options.compilation_cache)
    from ssm_bench.sweep.cells import Cell, opened, summary
    from ssm_bench.sweep.progress import Progress, parse_duration
    from ssm_bench.training import pretrained, provenance, tracking
    from ssm_bench.training.checks import writable
    from ssm_bench.training.run import earlier, outdated, revision_words
    from ssm_bench.training.run import run as run_cell
    from ssm_bench.training.stop import Stop, Stopped

    devices = _options.count("--devices", options.devices)
    deadline = parse_duration("--deadline", options.deadline) if options.deadline else None
    choices = _options.choices(options)
    config = choices.config(Cell(model=options.model, task=options.task, seed=options.seed))
    if options.show_config:
        print(config)
        return 0
    # Before data are downloaded or generated, which may take long.
    tracking.check(options.track)
    writable(options.results, options.checkpoints)
    provenance.note()
    with Stop(deadline) as stop:
        config, dataset = opened(config)
        weights = pretrained.read(options.init_from) if options.init_from else None
        if weights:
            config = weights.continued(config, dataset)
        record = earlier(config, dataset, options.results, devices=devices)
        if record and not options.rerun:
            if not (why := outdated(record)):
                words = f"{summary(record)}, {revision_words(record)}"
                print(f"finished before (--rerun runs it again): {words}")
                _keep(record, options)
                return STATUS_CODES.get(record.status, 1)
            print(f"runs again: {why}")
        progress = Progress(f"{options.model} {options.task} seed {options.seed}")
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
            print(f"{stopped} before the model was built: nothing has changed")
            return STATUS_CODES["partial"]
        progress.end(summary(record))
    print(summary(record))
    _keep(record, options)
    return STATUS_CODES.get(record.status, 1)


def _keep(record: "RunRecord", options: argparse.Namespace) -> None:
    """Writes the model of a finished run, if it is asked for."""
    if options.keep_model and record.status == "ok":
        from ssm_bench.training import trained

        kept = trained.kept_folder(record, options.results)
        print(f"wrote {trained.of_checkpoint(record, options.checkpoints).save(kept)}")
