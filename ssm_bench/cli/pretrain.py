"""`ssm-bench pretrain`: one model on the training inputs of a task, without their labels."""

import argparse
from pathlib import Path

from ssm_bench.cli import _options
from ssm_bench.errors import UserError, unknown_name

HELP = "pretrain one model on the inputs of a task; `train --init-from` continues with the labels"
EXAMPLE = """example:
  ssm-bench pretrain --model s4 --task text --preset quick --data synthetic --out pretrained
  ssm-bench train --model s4 --task text --preset quick --data synthetic --init-from pretrained

The objective masked predicts hidden inputs from all others. causal predicts the next input and needs a causal model
(--config.mixer.bidirectional=False). Only inputs of the training split are used; some are held out for scoring.

exit codes: 0 the weights are written, now or before; 1 the loss was not finite; 3 it was interrupted, and the same
command resumes it; 2 an invalid command; 130 ended by a second Ctrl-C."""

#: Without a published share or schedule of their own.
PRESETS = ("custom", "quick")

STATUS_CODES = {"ok": 0, "partial": 3}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this verb."""
    parser.add_argument("--model", required=True, help="see `ssm-bench list models`; or a mixer, package.module:Class")
    parser.add_argument("--task", required=True, help="see `ssm-bench list tasks`")
    parser.add_argument("--objective", default="masked", help="masked (default) or causal")
    rate = "share of hidden positions, in (0, 1) (default: the recipe's, else 0.5 for pixels and 0.15 for tokens)"
    parser.add_argument("--mask-rate", type=_options.number, help=rate)
    parser.add_argument("--preset", default="custom", help="custom (default) or quick")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    where = "folder of the weights (default: results/pretrained/<preset>/<task>/<model>/<name>)"
    parser.add_argument("--out", type=Path, metavar="DIR", help=where)
    _options.describe_cell(parser)
    parser.add_argument("--devices", default="1", metavar="N", help="devices that share each batch (default: 1)")
    parser.add_argument("--deadline", default="", metavar="TIME", help="save and exit before this time, e.g. 9m")
    parser.add_argument("--rerun", action="store_true", help="repeat a finished pretraining")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of results (default: results)")
    _options.accept_compilation_cache(parser)


def run(options: argparse.Namespace) -> int:
    """Runs the verb; returns the code that `EXAMPLE` lists."""
    _options.prepare_jax(options.preset, cache=options.compilation_cache)
    from ssm_bench.data import spec
    from ssm_bench.network.denoiser import OBJECTIVES
    from ssm_bench.sweep.cells import opened
    from ssm_bench.sweep.progress import Progress, parse_duration
    from ssm_bench.sweep.recipe import resolve
    from ssm_bench.training import pretrained, pretraining
    from ssm_bench.training.identity import name_of
    from ssm_bench.training.stop import Stop, Stopped

    if options.objective not in OBJECTIVES:
        raise unknown_name("--objective", options.objective, OBJECTIVES)
    if options.preset not in PRESETS:
        raise unknown_name("--preset of pretrain", options.preset, PRESETS)
    if options.mask_rate is not None and not 0.0 < options.mask_rate < 1.0:
        raise UserError(f"--mask-rate is a share of the positions in (0, 1); got {options.mask_rate}")
    if options.mask_rate is not None and options.objective != "masked":
        raise UserError("--mask-rate is for the objective masked; causal hides no position")
    devices = _options.count("--devices", options.devices)
    deadline = parse_duration("--deadline", options.deadline) if options.deadline else None
    settings = vars(_options.choices(options)) | {"seed": options.seed, "pretraining": True}
    config = resolve(options.model, options.task, **settings)
    kind = spec(options.task).kind
    config = pretraining.with_objective(config, kind, options.objective, options.mask_rate)
    label = f"{options.model} {options.task} {options.objective} pretraining seed {options.seed}"
    with Stop(deadline) as stop:
        config, dataset = opened(config)
        place = (config.preset, config.task.name, config.model.name, name_of(config, dataset.card["checksum"]))
        folder = options.out or options.results.joinpath("pretrained", *place)
        if (folder / pretrained.RECORD).exists() and not options.rerun:
            pretrained.read(folder).check_made_by(config)
            print(f"finished before (--rerun runs it again): {folder}")
            return 0
        if folder.exists() and not (folder / pretrained.RECORD).exists() and any(folder.iterdir()):
            raise UserError(f"{folder} exists and holds no pretrained weights: choose another folder with --out")
        progress = Progress(label)
        try:
            outcome = pretraining.pretrain(
                config,
                dataset,
                folder=folder,
                checkpoints=options.checkpoints,
                stop=stop,
                tell=progress,
                afresh=options.rerun,
                devices=devices,
            )
        except Stopped as stopped:
            print(f"{stopped} before the model was built: nothing has changed")
            return STATUS_CODES["partial"]
        words = outcome.message
        if outcome.result:
            accuracy = 100 * outcome.result["test_accuracy"]
            words = f"{accuracy:.2f} % of held-out inputs predicted at step {outcome.result['best_step']}"
        progress.end(f"{outcome.status}, {words}")
    print(f"wrote {folder}" if outcome.status == "ok" else f"{outcome.status}: {outcome.message}")
    return STATUS_CODES.get(outcome.status, 1)
