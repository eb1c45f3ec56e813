"""`ssm-bench eval`: scores the best parameters of a trained run again."""

import argparse

from ssm_bench.cli import _options

HELP = "score the best checkpoint of a run on a split, every example once"
EXAMPLE = """example:
  ssm-bench eval --model s5 --task text --preset quick --split validation

Give the same options as for training; for a run with a budget, give the --share that its record states. The test split
of an unfinished run is not scored, because the test split is scored only once, with the best parameters of the run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this verb."""
    parser.add_argument("--model", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--preset", default="custom")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default="test", help="train, validation or test (default)")
    _options.describe_cell(parser)


def run(options: argparse.Namespace) -> int:
    """Runs the verb."""
    _options.prepare_jax(options.preset)
    from ssm_bench.errors import UserError, unknown_name
    from ssm_bench.sweep.cells import Cell, opened
    from ssm_bench.training.checkpoint import Checkpoints
    from ssm_bench.training.run import checkpoint_folder, make_trainer

    choices = _options.choices(options)
    config, dataset = opened(choices.config(Cell(model=options.model, task=options.task, seed=options.seed)))
    if options.split not in dataset.splits:
        raise unknown_name("--split", options.split, dataset.splits)
    folder = checkpoint_folder(config, dataset, options.checkpoints)
    if not folder.is_dir():
        raise UserError(f"no checkpoint of this run at {folder}: train it first, with the same options")
    trainer = make_trainer(config, dataset)
    _, best = trainer.start(Checkpoints(folder))
    done, steps = trainer.outcome.step, config.train.steps
    if trainer.outcome.best is None:
        raise UserError(f"this run has no best parameters yet: it is at step {done} of {steps}, before its validation")
    if options.split == "test" and done < steps:
        raise UserError(
            f"--split test is scored once, at the end of a run; this one is at step {done} of {steps}: "
            "use --split validation or train"
        )
    accuracy, loss = trainer.score(best["params"], best["stats"], options.split)
    step = int(trainer.outcome.best["step"])
    print(
        f"{options.model} on {options.task} ({dataset.card['identity']}), {options.split}: "
        f"accuracy {100 * accuracy:.2f} %, loss {loss:.4f}, parameters of step {step}, "
        f"{len(dataset.splits[options.split])} examples"
    )
    return 0
