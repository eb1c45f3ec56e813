"""Resolves a model, a task, a preset and overrides to one complete configuration."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from ssm_bench import registry
from ssm_bench.config import check_choice, divisors, experiment, get_config, has_recipe, leaves, override
from ssm_bench.data import spec
from ssm_bench.data.dataset import DATA, PROTOCOLS
from ssm_bench.errors import ArgumentError, SettingError, UserError, unknown_choice, unknown_name
from ssm_bench.network.build import SLOTS, options_of
from ssm_bench.record.identity import PLACEMENT
from ssm_bench.report import published
from ssm_bench.sweep.presets import PRESETS, default_data, set_share
from ssm_bench.training.devices import check_division
from ssm_bench.training.segments import check as check_segments

#: Options with the same meaning in every mixer. They are kept when another mixer replaces that of a recipe; all others
#: take the defaults of the new mixer. `state_size` is not among them: S5 counts both states of each conjugate pair, the
#: LRU complex states, S4 and S6 the states of one channel.
SHARED_OPTIONS = ("bidirectional", "dt_min", "dt_max", "heads", "width")

#: Settings that have their own flag.
FLAGS = {
    "seed": "--seed",
    "preset": "--preset",
    "protocol": "--protocol",
    "task.name": "--task",
    "task.data": "--data",
    "model.name": "--model",
    "pretraining.objective": "--objective of ssm-bench pretrain",
    "pretraining.mask_rate": "--mask-rate of ssm-bench pretrain",
    "report.changed": "--config with the changed settings",
    **dict.fromkeys(
        ("pretraining.steps", "pretraining.seed", "pretraining.checksum"), "--init-from of ssm-bench train"
    ),
}

#: Settings that may change without changing the recipe or its schedule.
FREE_ALWAYS = (
    *("train.evaluations", "train.chunk", "train.lengths", "train.eval_batch_size", "train.norm_batches"),
    *PLACEMENT,
    *("train.accumulate", "model.precision"),
)

#: Settings that may change under the presets of the published recipe; these presets need a recipe.
FREE = {"budget": ("train.steps", *FREE_ALWAYS), "paper": FREE_ALWAYS}


def resolve(
    model: str,
    task: str,
    *,
    preset: str = "custom",
    protocol: str = "strict",
    data: str = "",
    seed: int = 0,
    share: float | None = None,
    overrides: Sequence[str] = (),
    pretraining: bool = False,
) -> ConfigDict:
    """The configuration of one cell: every setting and every option of mixer and scaffold.

    This function checks all settings against the schema (`ssm_bench.config`), so later code does not check them again.

    Args:
        model: an experiment, or a reference "package.module:Class" of a mixer.
        task: a module of `ssm_bench.tasks`, or a task of a plug-in.
        preset: one of PRESETS.
        protocol: "strict", "paper" or "lra".
        data: "auto", "real" or "synthetic"; empty: "auto" for `quick`, "real" for every other preset.
        seed: seed of initialization, order and dropout, not negative.
        share: share of the published steps, in (0, 1]; None: the default of the preset.
        overrides: `--config.x.y=value` arguments, which take precedence over everything else.
        pretraining: the recipe of pretraining on the inputs of the task (`ssm_bench.training.pretraining`).

    Raises:
        UserError: an unknown name, a value out of range, or no recipe for a preset that needs one.
    """
    wanted = spec(task)
    if preset not in PRESETS:
        raise unknown_choice("preset", preset, PRESETS)
    if preset in FREE and not has_recipe(model, task):
        raise UserError(f"{model} has no published recipe for {task}: preset {preset} needs one; use custom or quick")
    if protocol not in PROTOCOLS:
        raise unknown_choice("protocol", protocol, PROTOCOLS)
    data = data or default_data(preset)
    if share is not None and not 0.0 < share <= 1.0:
        raise ArgumentError("share", f"must be in (0, 1]; got {share}")
    if data not in DATA:
        raise unknown_choice("data", data, DATA)
    if not 0 <= seed < 2**31:
        raise ArgumentError("seed", f"must be a whole number from 0 to 2147483647; got {seed}")
    _check_overrides(preset, overrides)
    config = get_config(model, wanted, pretraining=pretraining)
    config.preset, config.protocol, config.seed, config.task.data = preset, protocol, seed, data
    # Applied first: the slots, whose classes decide which options exist, and the steps that a share refers to.
    first = ("--config.model.mixer=", "--config.model.scaffold=", "--config.train.published_steps=")
    chosen = [a for a in overrides if a.startswith(first)]
    recipe = config
    config = override(config, chosen)
    for section, package, interface in SLOTS:
        if not registry.is_reference(config.model[section]):
            check_choice(f"model.{section}", config.model[section], registry.names(package))
        defaults = options_of(registry.subclass(package, config.model[section], interface))
        given = config[section].to_dict()
        if config.model[section] != recipe.model[section]:
            given = {k: v for k, v in given.items() if section == "scaffold" or k in SHARED_OPTIONS}
        else:
            for name in given:
                if name not in defaults:
                    raise unknown_name(f"option of {section} {config.model[section]}", name, defaults)
        config[section] = ConfigDict(defaults | {name: value for name, value in given.items() if name in defaults})
    if share is not None:
        if preset == "quick":
            raise ArgumentError(
                "share", "cannot be set under the preset quick, which has no published schedule; use budget"
            )
        if preset == "paper":
            what = f"cannot be set under the preset paper, which runs the full published schedule; got {share}"
            raise ArgumentError("share", f"{what}; use the preset budget or custom")
        if not config.train.published_steps:
            raise ArgumentError("share", f"cannot be set, since {model} has no recipe for {task}")
        set_share(config, share)
    else:
        PRESETS[preset](config, experiment(model))
    if protocol == "paper":
        # The published codes evaluate with running averages.
        config.train.norm_batches = 0
    before = config
    config = override(config, [a for a in overrides if a not in chosen])
    config.report.changed = _changes(preset, overrides, recipe, before, config)
    if config.model.norm != "batch":
        config.train.norm_batches = 0
    elif config.train.accumulate > 1:
        raise SettingError(
            "train.accumulate",
            "must be 1 with model.norm=batch, whose statistics cover the whole batch, not a microbatch; got "
            f"{config.train.accumulate}",
        )
    if config.train.batch_size % config.train.accumulate:
        raise SettingError(
            "train.accumulate",
            f"must divide train.batch_size, here {config.train.batch_size}: it can be "
            f"{divisors(config.train.batch_size)}; got {config.train.accumulate}",
        )
    check_segments(config)
    check_division(config)
    if wanted.kind != "tokens" or protocol == "paper":
        # It has no effect there, and must not change the name of the run.
        config.train.lengths = 1
    row, source = config.report.published_row, config.report.published_source
    if row and not published.known(row, source):
        what = (
            f"must be empty or a row of the published results; got {row!r}, but the source {source!r} has no such row"
        )
        raise SettingError("report.published_row", what)
    return config


def when_opened(config: ConfigDict) -> list[ConfigDict]:
    """The configurations that can result from this one when its data are opened (`training.run.open_data`)."""
    found = []
    for kind in ("real", "synthetic") if config.task.data == "auto" else (config.task.data,):
        each = config.copy_and_resolve_references()
        each.task.data = kind
        each.task.max_length = config.task.max_length or spec(config.task.name).max_length
        found.append(each)
    return found


def _changes(preset: str, overrides: Sequence[str], recipe: ConfigDict, before: ConfigDict, config: ConfigDict) -> str:
    """The settings that overrides changed, "name=value, ...", except those that a preset leaves open.

    Args:
        preset: one of PRESETS.
        overrides: as in `resolve`.
        recipe: the recipe, whose mixer and scaffold count.
        before: the recipe under the preset.
        config: the result.
    """
    names = {argument.removeprefix("--config.").partition("=")[0] for argument in overrides}
    if not (names := names - set(FREE.get(preset, FREE_ALWAYS))):
        return ""
    slots = {f"model.{section}": recipe.model[section] for section, *_ in SLOTS}
    old, new = leaves(before.to_dict()) | slots, leaves(config.to_dict())
    return ", ".join(f"{name}={new[name]}" for name in sorted(names) if new[name] != old[name])


def _check_overrides(preset: str, overrides: Sequence[str]) -> None:
    """Checks that overrides set no setting that has its own flag, and do not change a published recipe."""
    for argument in overrides:
        name = argument.removeprefix("--config.").partition("=")[0]
        if name in FLAGS:
            raise SettingError(name, f"cannot be changed with --config: use {FLAGS[name]}")
        if preset == "paper" and name == "train.steps":
            raise SettingError(name, "changes the published schedule; use the preset budget or custom for another")
        if preset in FREE and name not in FREE[preset]:
            raise SettingError(
                name,
                f"changes the published recipe; settings that may change under {preset}: "
                f"{', '.join(FREE[preset])}; use the preset custom for others",
            )
