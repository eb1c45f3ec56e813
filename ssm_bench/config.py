"""Configuration: one schema of all settings, and recipes that are read from `experiments/<model>.py`."""

import importlib
import importlib.util
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import flags
from ml_collections import ConfigDict, FieldReference, config_flags

from ssm_bench import registry
from ssm_bench.errors import SettingError, UserError, unknown_choice, unknown_name

#: Integers are 32 bits wide on devices.
LARGEST_INTEGER = 2**31 - 1

#: Steps of a run on a task without a recipe, where nothing else is said.
STEPS_WITHOUT_RECIPE = 10_000

#: How a parameter learns: "ssm" or "global" learning rate, "+decay" with weight decay.
GROUPS = ("ssm", "ssm+decay", "global", "global+decay")


@dataclass(frozen=True)
class Setting:
    """One setting of a run.

    Attributes:
        name: the full name, as in `--config.NAME=VALUE`.
        default: the value where neither experiment, preset nor user gives one; its type is the setting's type.
        help: one sentence.
        range: of a number, as an interval like "[0, 1)"; empty: any finite one.
        choices: of a text; empty: any.
    """

    name: str
    default: Any
    help: str
    range: str = ""
    choices: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """The name of its type: bool, int, float or str."""
        return type(self.default).__name__

    def check(self, value: Any) -> None:
        """Checks a value.

        Raises:
            UserError: a value of another type, not finite, out of range, or not one of the choices.
        """
        if type(value) is not type(self.default) and not (self.type == "float" and type(value) is int):
            raise SettingError(self.name, f"takes a value of type {self.type}, like {self.default!r}; got {value!r}")
        if self.choices:
            check_choice(self.name, value, self.choices)
        check_number(self.name, value)
        if self.range and not _within(value, self.range):
            raise SettingError(self.name, f"must {_in_words(self.range)}; got {value}")


def check_number(name: str, value: Any) -> None:
    """Refuses numbers that are not finite, and integers of more than 32 bits.

    Raises:
        UserError: names the setting and the value.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingError(name, f"takes a finite number; got {str(value)!r}")
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise SettingError(name, f"takes an integer of at most {LARGEST_INTEGER}; got {value}")


def _within(value: float, interval: str) -> bool:
    low, high = (float(bound) for bound in interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    return above and (value <= high if interval[-1] == "]" else value < high)


def _in_words(interval: str) -> str:
    low, high = interval[1:-1].split(", ")
    if high == "inf":
        return f"be at least {low}" if interval[0] == "[" else f"be above {low}"
    return f"lie in {interval}"


COUNT, SIZE, SHARE, FRACTION, POSITIVE = "[1, inf)", "[0, inf)", "[0, 1]", "[0, 1)", "(0, inf)"

#: All settings except the options of mixers and scaffolds, which are the arguments of their classes.
SETTINGS = (
    Setting("seed", 0, "Seed of initialization, order and dropout.", SIZE),
    Setting(
        "preset",
        "custom",
        "The preset that made the configuration; pretrained: any of them, from pretrained weights.",
        choices=("quick", "budget", "paper", "custom", "pretrained", "pretrained-quick"),
    ),
    Setting(
        "protocol", "strict", "How splits, padding and model selection are handled.", choices=("strict", "paper", "lra")
    ),
    Setting("task.name", "", "The task, or a variant of it."),
    Setting("task.data", "auto", "Where examples come from.", choices=("auto", "real", "synthetic")),
    Setting("task.tokens", "characters", "What one token of a text is.", choices=("characters", "bytes")),
    Setting("task.max_length", 0, "Length that documents are cut to; 0: the task's own.", SIZE),
    Setting("task.examples", 0, "Number of training examples; 0: all.", SIZE),
    Setting("model.name", "", "The model: a file of experiments/."),
    Setting("model.mixer", "", "The sequence mixer; its options are the section `mixer`."),
    Setting("model.scaffold", "glu", "The block around the mixer; its options are the section `scaffold`."),
    Setting("model.d_model", 128, "Width of the model.", COUNT),
    # Layers are traced one by one.
    Setting("model.layers", 6, "Number of blocks.", "[1, 1024]"),
    Setting("model.norm", "batch", "Normalization.", choices=("batch", "layer", "rms", "scale")),
    Setting("model.norm_decay", 0.9, "Decay of the running statistics of batch norm.", FRACTION),
    Setting("model.prenorm", True, "Whether the norm precedes the mixer instead of following the residual sum."),
    Setting("model.final_norm", False, "Whether a norm follows the last block."),
    Setting("model.dropout", 0.0, "Dropout rate inside the blocks.", FRACTION),
    Setting("model.tie_dropout", True, "Whether all positions share one dropout mask."),
    Setting("model.input_dropout", 0.0, "Dropout rate of the input of the first block.", FRACTION),
    Setting("model.embedding_std", 1.0, "Standard deviation of the initial token embedding.", SIZE),
    Setting(
        "model.encoder",
        "auto",
        "How inputs become vectors; auto: linear for pixels, embedding for tokens.",
        choices=("auto", "embedding", "one_hot", "linear"),
    ),
    Setting(
        "model.encoder_init",
        "lecun_normal",
        "Initialization of a linear encoder; uniform: that of PyTorch's Linear; normal: weights of standard deviation "
        "1 and biases of 0.1.",
        choices=("lecun_normal", "uniform", "normal"),
    ),
    Setting("model.positions", "none", "Positional encoding.", choices=("none", "sinusoidal", "learned")),
    Setting("model.pooling", "mean", "How positions become one vector.", choices=("mean", "last", "cls")),
    Setting(
        "model.context",
        0,
        "Number of learned vectors that pass through the blocks in front of the sequence; pooling leaves them out.",
        SIZE,
    ),
    Setting(
        "model.window",
        0,
        "Positions that a model sees at once: sequences are cut into pieces of this length, which pass the blocks one "
        "by one, and pooling averages over all pieces; 0: no cut.",
        SIZE,
    ),
    Setting(
        "model.paper_padding",
        "everywhere",
        "What sees padding under protocol paper.",
        choices=("everywhere", "norms", "nowhere"),
    ),
    Setting("model.head_width", 0, "Hidden width of the classifier head; 0: a linear head.", SIZE),
    Setting(
        "model.precision",
        "float32",
        "Precision of the activations; states, statistics and parameters stay float32.",
        choices=("float32", "bf16"),
    ),
    Setting(
        "model.scan_layers",
        "auto",
        "Whether equal blocks are compiled once and run in a loop; results differ by rounding only.",
        choices=("auto", "on", "off"),
    ),
    Setting("optimizer.lr", 1e-3, "Peak learning rate.", POSITIVE),
    Setting("optimizer.ssm_lr", 1e-3, "Peak learning rate of the parameters whose group is ssm.", POSITIVE),
    Setting("optimizer.weight_decay", 0.05, "Decoupled weight decay of the groups with +decay.", SIZE),
    Setting(
        "optimizer.schedule",
        "cosine",
        "Learning rate after the warm-up.",
        choices=("cosine", "linear", "constant", "rsqrt"),
    ),
    Setting("optimizer.warmup", 0.1, "Share of the steps in which the learning rate rises.", SHARE),
    Setting("optimizer.warmup_power", 1, "Power of the share of the warm-up that the learning rate follows.", COUNT),
    Setting("optimizer.end_lr", 0.0, "Learning rate at the last step of a cosine or linear schedule.", SIZE),
    Setting("optimizer.b1", 0.9, "Adam's decay rate of the first moment.", FRACTION),
    Setting("optimizer.b2", 0.999, "Adam's decay rate of the second moment.", FRACTION),
    Setting("optimizer.epsilon", 1e-8, "Adam's epsilon.", POSITIVE),
    Setting("optimizer.clip_norm", 0.0, "Largest global norm of the gradients; 0: no clipping.", SIZE),
    Setting("optimizer.groups.weight", "global+decay", "Group of weight matrices.", choices=GROUPS),
    Setting("optimizer.groups.exempt", "global", "Group of biases, norms and embeddings.", choices=GROUPS),
    Setting("optimizer.groups.spectrum", "ssm", "Group of the state matrix.", choices=GROUPS),
    Setting("optimizer.groups.step_size", "ssm", "Group of the step sizes.", choices=GROUPS),
    Setting("optimizer.groups.input_matrix", "ssm", "Group of the input matrix B.", choices=GROUPS),
    Setting("optimizer.groups.output_matrix", "global+decay", "Group of the output matrix C.", choices=GROUPS),
    Setting("optimizer.groups.feedthrough", "global+decay", "Group of the feedthrough D.", choices=GROUPS),
    Setting("train.batch_size", 32, "Examples per step.", COUNT),
    Setting(
        "train.accumulate",
        1,
        "Microbatches that a batch is divided into, whose gradients are averaged, so that a larger batch fits into "
        "memory.",
        COUNT,
    ),
    Setting(
        "train.segment",
        0,
        "Positions per segment of truncated backpropagation through time: a step reads its sequences segment by "
        "segment, carries the states, and cuts their gradient between segments; 0: whole sequences.",
        SIZE,
    ),
    Setting(
        "train.divide",
        "batch",
        "What several devices (--devices) divide among them: the examples of a batch, or the time axis of every "
        "sequence; results differ by rounding only.",
        choices=("batch", "time"),
    ),
    Setting("train.published_steps", 0, "Steps of the recipe; 0: the task has no recipe.", SIZE),
    Setting("train.steps", 0, "Steps of this run; 0: those of the recipe.", COUNT),
    Setting("train.evaluations", 20, "Evaluations on the validation split, evenly spaced.", COUNT),
    Setting("train.chunk", 50, "Steps per call of the device.", COUNT),
    Setting(
        "train.data_on",
        "auto",
        "Where examples wait for their batch; auto: on the host if they would take more than a quarter of the memory "
        "of the device. No result depends on it.",
        choices=("auto", "device", "host"),
    ),
    Setting(
        "train.lengths",
        4,
        "Number of lengths that batches of documents are padded to; 1: the longest of the task only.",
        COUNT,
    ),
    Setting("train.eval_batch_size", 0, "Examples per step of an evaluation; 0: as in training.", SIZE),
    Setting(
        "train.norm_batches",
        50,
        "Training batches that recompute the statistics of batch norm before an evaluation; 0: running averages.",
        SIZE,
    ),
    Setting(
        "pretraining.objective",
        "none",
        "What the weights were pretrained for on the inputs of the task, before the labels.",
        choices=("none", "masked", "causal"),
    ),
    Setting("pretraining.mask_rate", 0.0, "Share of the positions that masked pretraining hides.", FRACTION),
    Setting("pretraining.steps", 0, "Steps of the pretraining that this run continues; 0: none.", SIZE),
    Setting("pretraining.seed", 0, "Seed of that pretraining.", SIZE),
    Setting("pretraining.checksum", "", "SHA-256 of its weights."),
    Setting("report.title", "", "Name of the model in tables."),
    Setting("report.bibtex", "", "BibTeX entry of the paper."),
    Setting("report.published_row", "", "Row of the published results to compare with."),
    Setting("report.published_source", "", "Source of that row."),
    Setting("report.changed", "", "Settings that the user changed, except those that the preset leaves open."),
)

#: The settings by name.
SCHEMA = {setting.name: setting for setting in SETTINGS}

#: Sections whose settings are the arguments of the class named by `model.mixer` and `model.scaffold`.
OF_CLASSES = ("mixer", "scaffold")


def base_config(task: str) -> ConfigDict:
    """Every setting of a run at its default; experiment, preset and user change them in this order."""
    tree: dict[str, Any] = {section: {} for section in OF_CLASSES}
    for setting in SETTINGS:
        *sections, leaf = setting.name.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[leaf] = setting.default
    tree["task"]["name"] = task
    return ConfigDict(tree)


def merged(*trees: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings in one tree; later ones win, section by section. None of the given trees is changed."""
    found: dict[str, Any] = {}
    for tree in trees:
        for name, value in tree.items():
            old = found.get(name)
            inside = isinstance(value, Mapping)
            found[name] = merged(old if isinstance(old, Mapping) else {}, value) if inside else value
    return found


def experiments_folder() -> Path:
    """The folder of experiment files.

    It is SSM_BENCH_EXPERIMENTS, else the folder of the experiment file that is being run as a script, else the
    experiments of this package.
    """
    script = sys.modules["__main__"]
    if named := os.environ.get("SSM_BENCH_EXPERIMENTS"):
        folder = Path(named).expanduser()
    elif hasattr(script, "TINY") and getattr(script, "__file__", None):
        folder = Path(script.__file__ or "").resolve().parent
    else:
        folder = Path(__file__).resolve().parent / "experiments"
    if not folder.is_dir():
        raise UserError(
            f"no folder of experiment files at {folder}: install ssm-bench again, "
            "or set SSM_BENCH_EXPERIMENTS to a folder with files like experiments/s5.py"
        )
    return folder


def _files() -> tuple[str, ...]:
    return tuple(sorted(p.stem for p in experiments_folder().glob("[a-z]*.py")))


def _has_file(name: str) -> bool:
    """Whether `_files` has this name, without listing the folder: configurations are made by the hundred."""
    return name.isidentifier() and "a" <= name[0] <= "z" and (experiments_folder() / f"{name}.py").is_file()


def experiment_names() -> tuple[str, ...]:
    """The models that can be run, sorted: experiment files, and the experiments and mixers of plug-ins."""
    return tuple(sorted({*_files(), *registry.plugins("experiments"), *registry.plugins("mixers")}))


@cache
def _module(path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location(f"ssm_bench_experiments.{path.stem}", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return _complete(module, str(path))


def _complete(module: ModuleType, where: str) -> ModuleType:
    for name in ("__doc__", "TINY", "defaults"):
        if getattr(module, name, None) is None:
            raise UserError(f"{where} needs {'a docstring' if name == '__doc__' else name}, as experiments/s5.py has")
    return module


def experiment(name: str) -> ModuleType:
    """The experiment of a model, imported.

    A mixer of a plug-in without an experiment of its own, and the reference "package.module:Class" of a mixer, get one
    that names the mixer and leaves all else to `base_config`.

    Raises:
        UserError: no such model, or a plug-in that cannot be imported.
    """
    if registry.is_reference(name):
        return _of_mixer(name, name.partition(":")[2], registry.module("mixers", name).__doc__)
    own = _has_file(name)
    if not (own or name in registry.plugins("experiments") or name in registry.plugins("mixers")):
        raise unknown_name("model", name, experiment_names())
    if _is_mixer(name):
        entry = registry.plugins("mixers")[name][0]
        return _of_mixer(name, entry.attr or name, registry.plugin("mixers", name, own=False).__doc__)
    if name in registry.plugins("experiments"):
        return _complete(registry.plugin("experiments", name, own=own), f"the experiment {name!r} of a plug-in")
    return _module(experiments_folder() / f"{name}.py")


def _is_mixer(name: str) -> bool:
    """Whether a model is the mixer of a plug-in that has no experiment."""
    return name in registry.plugins("mixers") and not (_has_file(name) or name in registry.plugins("experiments"))


def _of_mixer(mixer: str, title: str, description: str | None) -> ModuleType:
    module = ModuleType(mixer, description or title)
    settings = {"model": {"mixer": mixer}, "report": {"title": title}}
    vars(module).update(TINY={}, defaults=lambda task: settings)
    return module


def recipes(model: str) -> Mapping[str, Any]:
    """The recipes of a model: task -> nested settings on top of its defaults; empty where it has none.

    Raises:
        UserError: unknown model.
    """
    # A table of what is missing is made without importing a mixer, and with it JAX.
    return {} if _is_mixer(model) else getattr(experiment(model), "RECIPES", {})


def has_recipe(model: str, task: str) -> bool:
    """Whether a model has a recipe for the task, or for the one that this is a variant of.

    Raises:
        UserError: unknown model.
    """
    return _base(task) in recipes(model)


def get_config(model: str, task: Any, *, pretraining: bool = False) -> ConfigDict:
    """The configuration of a model on a task: its recipe, or its defaults for such a task if it has none.

    A task without a recipe has 0 published steps, and takes STEPS_WITHOUT_RECIPE.

    Args:
        model: an experiment, or the reference of a mixer.
        task: the `TaskSpec` of the task.
        pretraining: with the changes of the experiment's PRETRAINING, the recipe of pretraining on its inputs.

    Raises:
        UserError: unknown model, or an experiment file with a setting that does not exist or has another type.
    """
    module = experiment(model)
    config = base_config(task.name)
    tree = merged(module.defaults(task), recipes(model).get(_base(task.name), {}))
    if pretraining:
        # A published number of the model is one without pretraining.
        tree = merged(tree, {"report": {"published_row": "", "published_source": ""}})
        tree = merged(tree, getattr(module, "PRETRAINING", {}).get(_base(task.name), {}))
    # Their options depend on the class in the slot, and are checked where it is known.
    for section in OF_CLASSES:
        config[section] = ConfigDict(tree.pop(section, {}))
    for name, value in leaves(tree).items():
        if name not in SCHEMA:
            raise unknown_name(f"setting of experiments/{model}.py", name, SCHEMA)
        try:
            SCHEMA[name].check(value)
        except UserError as error:
            raise UserError(f"experiments/{model}.py: {error}") from error
    config.update(tree)
    # The path of a record contains the name of the model. A class may have been defined in a script or in a function.
    name = model.replace(":", ".").removeprefix("__main__.").replace("<locals>.", "").lstrip("_")
    config.task.name, config.model.name = task.name, name
    if not config.train.steps:
        config.train.steps = config.train.published_steps or STEPS_WITHOUT_RECIPE
    return config


def _base(task: str) -> str:
    """The task of a variant: "pathfinder" of "pathfinder-64-easy", whose recipe it takes."""
    return task.partition("-")[0]


def override(config: ConfigDict, arguments: Sequence[str]) -> ConfigDict:
    """Applies arguments like `--config.model.d_model=128`.

    Raises:
        UserError: a name that does not exist (with the nearest names), a name without a value, or a value that its
            setting does not take.
    """
    config = config.copy_and_resolve_references()
    for argument in arguments:
        name, equals, value = argument.removeprefix("--config.").partition("=")
        known = leaves(config.to_dict())
        if inside := [k for k in known if k.startswith(f"{name}.")]:
            raise SettingError(name, f"is a section of settings: {', '.join(inside)}")
        if name not in known:
            section, _, last = name.rpartition(".")
            siblings = [k for k in known if k.rpartition(".")[0] == section or k.rpartition(".")[2] == last] or known
            raise unknown_name("setting", name, siblings)
        if not equals:
            raise SettingError(name, f"needs a value: {argument}=VALUE")
        command = ["ssm-bench", argument]
        values = flags.FlagValues()
        # The flag prints all settings of what it is given, which takes longer than everything else here.
        config_flags.DEFINE_config_dict("config", _alone(config, name), flag_values=values, sys_argv=command)
        try:
            values(command)
        except (flags.Error, TypeError, ValueError) as error:
            like = f"a value of type {type(known[name]).__name__}, like {known[name]!r}"
            raise SettingError(name, f"takes {like}; got {value!r}") from error
        changed = leaves(values.config.to_dict())[name]
        config.update_from_flattened_dict({name: changed})
        if name in SCHEMA:
            SCHEMA[name].check(changed)
        else:
            check_number(name, changed)
    return config


def _alone(config: ConfigDict, name: str) -> ConfigDict:
    """A configuration of one setting only, with its value and its type."""
    head, inside, rest = name.partition(".")
    if inside:
        return ConfigDict({head: _alone(config[head], rest)})
    return ConfigDict({head: FieldReference(config[head], config.get_type(head))})


def leaves(tree: dict[str, Any], joint: str = ".", prefix: str = "") -> dict[str, Any]:
    """The values of a tree of settings by their whole names: {"a": {"b": 1}} as {"a.b": 1}."""
    found = {}
    for key, value in tree.items():
        name = prefix + key
        found |= leaves(value, joint, name + joint) if isinstance(value, dict) else {name: value}
    return found


def divisors(number: int) -> str:
    """The divisors of a positive number, in words for an error message."""
    return ", ".join(str(n) for n in range(1, number + 1) if number % n == 0)


def check_allowed(config: ConfigDict, allowed: Mapping[str, Sequence[Any]], where: str) -> None:
    """Checks several settings, of which a configuration may lack options of mixers.

    Args:
        config: the configuration.
        allowed: full name -> the values allowed.
        where: the condition under which no other values are, for the message.

    Raises:
        SettingError: the value of one of them is not allowed.
    """
    settings = leaves(config.to_dict())
    for name, values in allowed.items():
        if name in settings and settings[name] not in values:
            words, seen = (" or ".join(str(each).lower() for each in some) for some in (values, (settings[name],)))
            raise SettingError(name, f"must be {words} where {where}; got {seen}")


def check_choice(setting: str, value: Any, allowed: Sequence[str]) -> None:
    """Checks that the value of a setting is one of the allowed ones.

    Raises:
        SettingError: it is not.
    """
    if value not in allowed:
        error = unknown_choice(setting, str(value), allowed)
        raise SettingError(error.name, *error.words)
