"""Configuration: one tree of settings per run, from `experiments/<model>.py`, changed by `--config.x.y=value`."""

import importlib.util
import math
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from ssm_bench.errors import UserError, unknown_name

#: Of a setting: what 32 bits hold, since whole numbers are 32 bits wide on devices.
LARGEST_INTEGER = 2**31 - 1


def base_config(task: str) -> ConfigDict:
    """Every setting of a run with a neutral value; an experiment file replaces what its paper publishes.

    The sections `mixer` and `scaffold` are the options of the classes named by `model.mixer` and
    `model.scaffold`; all other names are fixed here.
    """
    return ConfigDict(
        {
            "seed": 0,
            "preset": "custom",
            "protocol": "strict",
            "task": {
                "name": task,
                "data": "auto",
                "tokens": "characters",  # or "bytes", for the tasks that are text
                "max_length": 0,  # 0: the task's own
                "examples": 0,  # 0: all of them
            },
            "model": {
                "name": "",
                "mixer": "",
                "scaffold": "glu",
                "d_model": 128,
                "layers": 6,
                "norm": "batch",  # "batch", "layer", "rms"
                "norm_decay": 0.9,  # of batch norm's running statistics
                "prenorm": True,
                "final_norm": False,
                "dropout": 0.0,
                "tie_dropout": True,  # one dropout mask for all positions
                "input_dropout": 0.0,  # on what enters the first block
                "embedding_std": 1.0,  # of the initial token table, as in PyTorch's embedding
                "encoder": "auto",  # "embedding", "one_hot", "linear" (of one number); auto: linear for pixels
                "encoder_init": "lecun_normal",  # "uniform": of a linear encoder, as PyTorch's Linear starts
                "positions": "none",  # "sinusoidal", "learned"
                "pooling": "mean",  # "last", "cls"
                "context": 0,  # learned vectors that pass the blocks in front of the sequence; pooling leaves them out
                # Under protocol "paper", what sees padding: "everywhere", the "norms" alone, or "nowhere".
                "paper_padding": "everywhere",
                "head_width": 0,  # hidden width of the classifier head; 0: linear
                "precision": "float32",  # "bf16": of the activations; states, statistics and parameters stay float32
            },
            "mixer": {},
            "scaffold": {},
            "optimizer": {
                "lr": 1e-3,
                "ssm_lr": 1e-3,
                "weight_decay": 0.05,
                "schedule": "cosine",  # "linear", "constant", "rsqrt"
                "warmup": 0.1,  # share of the steps
                "end_lr": 0.0,
                "b1": 0.9,
                "b2": 0.999,
                "epsilon": 1e-8,
                "clip_norm": 0.0,  # 0: no clipping
                # What each role of parameter gets: "ssm" or "global" learning rate, "+decay" with weight decay.
                "groups": {
                    "weight": "global+decay",
                    "exempt": "global",
                    "spectrum": "ssm",
                    "step_size": "ssm",
                    "input_matrix": "ssm",
                    "output_matrix": "global+decay",
                    "feedthrough": "global+decay",
                },
            },
            "train": {
                "batch_size": 32,
                "published_steps": 0,  # of the recipe
                "steps": 0,  # of this run; 0: the published ones
                "evaluations": 20,  # on the validation split, evenly spaced
                "chunk": 50,  # steps in one call of the device
                "lengths": 4,  # that batches of documents are padded to; 1: the task's longest alone
                "eval_batch_size": 0,  # 0: the training batch
                # Training batches from which batch norm's statistics are computed before each validation, with the
                # parameters held; 0: the running averages.
                "norm_batches": 50,
            },
            "report": {
                "title": "",
                "bibtex": "",
                "published_row": "",
                "published_source": "",
            },
        }
    )


def experiments_folder() -> Path:
    """The folder of experiment files.

    It is SSM_BENCH_EXPERIMENTS, else the folder of the experiment file that is being run as a script, else
    `experiments/` of this checkout.
    """
    script = sys.modules["__main__"]
    if named := os.environ.get("SSM_BENCH_EXPERIMENTS"):
        folder = Path(named).expanduser()
    elif hasattr(script, "RECIPES") and getattr(script, "__file__", None):
        folder = Path(script.__file__ or "").resolve().parent
    else:
        folder = Path(__file__).resolve().parent.parent / "experiments"
    if not folder.is_dir():
        raise UserError(
            f"no folder of experiment files at {folder}: install with `pip install -e .` from a checkout, "
            "or set SSM_BENCH_EXPERIMENTS to a folder with files like experiments/s5.py"
        )
    return folder


def experiment_names() -> tuple[str, ...]:
    """The models that can be run: the files of the experiments folder, sorted."""
    return tuple(sorted(p.stem for p in experiments_folder().glob("[a-z]*.py")))


@cache
def _module(path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location(f"ssm_bench_experiments.{path.stem}", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    for name in ("__doc__", "RECIPES", "TINY", "get_config"):
        if getattr(module, name, None) is None:
            raise UserError(f"{path} needs {'a docstring' if name == '__doc__' else name}, as experiments/s5.py has")
    return module


def experiment(name: str) -> ModuleType:
    """The experiment file of a model, imported.

    Raises:
        UserError: no such file.
    """
    if name not in experiment_names():
        raise unknown_name("model", name, experiment_names())
    return _module(experiments_folder() / f"{name}.py")


def has_recipe(model: str, task: str) -> bool:
    """Whether the experiment file of a model has a recipe for the task, or for the one that this is a variant of.

    Raises:
        UserError: unknown model.
    """
    return _recipe(task) in experiment(model).RECIPES


def get_config(model: str, task: str) -> ConfigDict:
    """The published recipe of a model on a task.

    Raises:
        UserError: unknown model, or a task that its experiment file has no recipe for.
    """
    module = experiment(model)
    if not has_recipe(model, task):
        raise unknown_name(f"task of model {model}", task, module.RECIPES)
    recipe = _recipe(task)
    config = module.get_config(recipe)
    # What sits in the two slots has options of its own, which are checked where it is known.
    known, given = ({*leaves(c.to_dict())} for c in (base_config(recipe), config))
    for name in sorted(given - known):
        if not name.startswith(("mixer.", "scaffold.")):
            raise unknown_name(f"setting of experiments/{model}.py", name, known)
    config.task.name, config.model.name = task, model
    if not config.train.steps:
        config.train.steps = config.train.published_steps
    return config


def _recipe(task: str) -> str:
    """A variant of a task, such as "pathfinder-64-easy", has the recipe of the task."""
    return task.partition("-")[0]


def override(config: ConfigDict, arguments: Sequence[str]) -> ConfigDict:
    """Applies `--config.model.d_model=128` and its like, keeping the type of what is there.

    Raises:
        UserError: a name that does not exist (with the near names), or a value of another type, not finite, or
            beyond LARGEST_INTEGER.
    """
    config = config.copy_and_resolve_references()
    for argument in arguments:
        name, equals, value = argument.removeprefix("--config.").partition("=")
        known = leaves(config.to_dict())
        if inside := [f"--config.{k}" for k in known if k.startswith(f"{name}.")]:
            raise UserError(f"--config.{name} is a section of settings, not one: {', '.join(inside)}")
        if name not in known:
            section = name.rpartition(".")[0]
            siblings = [k for k in known if k.rpartition(".")[0] == section] or known
            raise unknown_name("setting", f"--config.{name}", [f"--config.{k}" for k in siblings])
        if not equals:
            raise UserError(f"--config.{name} needs a value: --config.{name}=VALUE")
        command = ["ssm-bench", argument]
        values = flags.FlagValues()
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=command)
        try:
            values(command)
        except (flags.Error, TypeError, ValueError) as error:
            like = f"a value of type {type(known[name]).__name__}, like {known[name]!r}"
            raise UserError(f"--config.{name} takes {like}; got {value!r}") from error
        config = values.config
        changed = leaves(config.to_dict())[name]
        if isinstance(changed, float) and not math.isfinite(changed):
            raise UserError(f"--config.{name} takes a finite number; got {value!r}")
        if isinstance(changed, int) and abs(changed) > LARGEST_INTEGER:
            raise UserError(f"--config.{name} takes a whole number of at most {LARGEST_INTEGER}; got {value}")
    return config


def leaves(tree: dict[str, Any], joint: str = ".", prefix: str = "") -> dict[str, Any]:
    """The values of a tree of settings by their whole names: {"a": {"b": 1}} as {"a.b": 1}."""
    found = {}
    for key, value in tree.items():
        name = prefix + key
        found |= leaves(value, joint, name + joint) if isinstance(value, dict) else {name: value}
    return found


def check_choice(setting: str, value: str, allowed: Sequence[str]) -> str:
    """Returns the value if it is one of the allowed ones.

    Raises:
        UserError: it is not; the message names the setting, the value and the allowed ones.
    """
    if value not in allowed:
        raise unknown_name(f"--config.{setting}", value, allowed)
    return value
