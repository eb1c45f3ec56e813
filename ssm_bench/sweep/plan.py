"""Plan files: which cells fill the table, in which order and with which settings.

A plan is a YAML list of groups. The cells of a group are all combinations of its models, tasks and seeds;
`experiments/campaign.yaml` is an example. A plan states no times: `forecast` derives them from records.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta, Struct

from ssm_bench.config import experiment_names
from ssm_bench.data import spec
from ssm_bench.errors import UserError, unknown_name
from ssm_bench.network.backbone import PRECISIONS
from ssm_bench.sweep.cells import Cell, Choices, cells

Texts = Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1)]
Seeds = Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1)]


class Group(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A group of cells with the same settings.

    Attributes:
        group: name of the group, unique in the plan.
        models: names of experiment files.
        tasks: names of tasks.
        preset: quick, budget, paper or custom.
        share: share of the published schedule, in (0, 1]; None: the default of the preset.
        precision: precision of the activations, float32 or bf16.
        seeds: whole numbers from 0.
        together: train all seeds of a cell in one program.
        protocol: strict, paper or lra.
        data: real, synthetic or auto; empty: the default of the preset.
        overrides: setting -> value, as in --config.SETTING=VALUE.
        resume: start a cell even if it does not fit before the deadline; a later sweep resumes it.
        per_gpu: number of cells that share a GPU.
    """

    group: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    models: Texts
    tasks: Texts
    preset: str
    share: Annotated[float, Meta(gt=0, le=1)] | None = None
    precision: str = "float32"
    seeds: Seeds = msgspec.field(default_factory=lambda: [0])
    together: bool = False
    protocol: str = "strict"
    data: str = ""
    overrides: dict[str, str | int | float | bool] = {}
    resume: bool = False
    per_gpu: Annotated[int, Meta(ge=1, le=16)] = 1

    @property
    def choices(self) -> Choices:
        """The settings that its cells share."""
        precision = {} if self.precision == "float32" else {"model.precision": self.precision}
        return Choices(
            preset=self.preset,
            protocol=self.protocol,
            data=self.data,
            share=self.share,
            overrides=tuple(f"--config.{name}={value}" for name, value in (precision | self.overrides).items()),
        )

    @property
    def cells(self) -> list[Cell]:
        """Its cells, the first seed of all first."""
        return cells(self.models, self.tasks, self.seeds, together=self.together, choices=self.choices)


class _Loader(yaml.SafeLoader):
    """A YAML loader that rejects duplicate keys, of which YAML would keep the last, and text that is not Unicode."""

    def construct_scalar(self, node: yaml.ScalarNode) -> str:
        text = super().construct_scalar(node)
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise yaml.constructor.ConstructorError(None, None, "text that is not Unicode", node.start_mark)
        return text

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        # "<<: *name" inserts the keys of another mapping, of which those given here change some.
        places = [place for place, _ in node.value if place.tag != "tag:yaml.org,2002:merge"]
        keys = [self.construct_object(place, deep=True) for place in places]
        for key, place in zip(keys, places, strict=True):
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} twice", place.start_mark)
        return super().construct_mapping(node, deep)


def read(path: Path) -> list[Group]:
    """Reads a plan file and checks every cell of it.

    Raises:
        UserError: names the file, the entry, the value seen and the values allowed.
    """
    raw = _yaml(path)
    if not isinstance(raw, list) or not raw:
        raise UserError(f"{path}: a plan must be a list of one or more groups, as in experiments/campaign.yaml")
    groups: list[Group] = []
    planned: dict[Any, str] = {}
    for number, entry in enumerate(raw, 1):
        where = f"{path}: entry {number}"
        group = _group(entry, where)
        where = f"{where} ({group.group})"
        if group.group in [other.group for other in groups]:
            raise UserError(f"{where}: the name of a group must be unique in its plan; another entry has the same name")
        try:
            _check(group)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        for cell in group.cells:
            for seed in cell.seeds:
                run = cell.model, cell.task, seed, cell.choices
                if run in planned:
                    name = f"{cell.model} on {cell.task}, seed {seed}"
                    raise UserError(f"{where}: {name}, is already planned by {planned[run]}")
                planned[run] = group.group
        groups.append(group)
    return groups


def _yaml(path: Path) -> Any:
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"--plan {path}: not a file")
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise UserError(f"--plan {path}: {(error.strerror or str(error)).lower()}") from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}{line}: not valid YAML: {' '.join(str(error.problem).split())}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())[:200]}") from None


def _group(entry: Any, where: str) -> Group:
    if not isinstance(entry, dict):
        allowed = ", ".join(Group.__struct_fields__)
        raise UserError(f"{where}: an entry must map keys to values ({allowed}); got {entry!r}")
    for key in entry:
        if key not in Group.__struct_fields__:
            raise unknown_name(f"key in {where}:", str(key), Group.__struct_fields__)
    try:
        return msgspec.convert(entry, Group)
    except msgspec.ValidationError as error:
        # "Expected `float` <= 1.0 - at `$.share`"
        what, _, place = str(error).partition(" - at `$.")
        key = place.strip("`").partition("[")[0]
        seen = f"{key}: {what}; got {entry[key]!r}" if key in entry else what
        raise UserError(f"{where}: {seen.replace('`', '')}") from None


def _check(group: Group) -> None:
    """Checks the names and settings of a group.

    Raises:
        UserError: an unknown name or an invalid setting, with the allowed values.
    """
    for key in ("models", "tasks", "seeds"):
        values: Sequence[str | int] = getattr(group, key)
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise UserError(f"{key} must not repeat a value; got {twice} {values.count(twice)} times")
    for model in group.models:
        if model not in experiment_names():
            raise unknown_name("model", model, experiment_names())
    for task in group.tasks:
        spec(task)
    if group.precision not in PRECISIONS:
        raise unknown_name("precision", group.precision, PRECISIONS)
    if group.precision != "float32" and "model.precision" in group.overrides:
        raise UserError("precision and overrides both set model.precision: use one of them")
    for cell in group.cells:
        group.choices.config(cell)
