"""Folders of pretrained weights, written at the end of a pretraining and read at the start of fine-tuning."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from ssm_bench.config import leaves
from ssm_bench.data import Dataset
from ssm_bench.errors import UserError
from ssm_bench.network.build import Split
from ssm_bench.record.identity import PLACEMENT
from ssm_bench.training import provenance
from ssm_bench.training.outcome import Outcome
from ssm_bench.training.recording import data_part
from ssm_bench.training.step import count_parameters

#: The files of pretrained weights.
ARRAYS, RECORD = "model.safetensors", "pretraining.json"

#: Version of the layout of RECORD.
FORMAT = 1

#: The presets of records of runs from pretrained weights: after `quick`, and after any other preset.
PRESETS = ("pretrained-quick", "pretrained")

#: Settings of the model that may differ between pretraining and fine-tuning: they change no shape below the head.
FREE = {
    *("model.name", "model.head_width", "model.pooling", "model.dropout", "model.tie_dropout", "model.input_dropout"),
    *("model.precision", "model.scan_layers", "model.norm_decay"),
}

#: Settings that determine which inputs are training inputs, and settings that determine shapes.
SAME = ("task.", "protocol", "model.", "mixer.", "scaffold.")


def write(
    folder: Path, config: ConfigDict, dataset: Dataset, outcome: Outcome, best: dict[str, Any], *, held_out: int
) -> None:
    """Writes the weights of a finished pretraining with their record; a killed process leaves no partial folder.

    Args:
        folder: the folder to write; it is replaced.
        config: the configuration of the pretraining.
        dataset: the data of the task.
        outcome: how the pretraining ended.
        best: parameters and batch statistics of a `Denoiser`.
        held_out: number of held-out training inputs, on which the scores are computed.

    Raises:
        UserError: the folder cannot be written.
    """
    assert outcome.result is not None
    from safetensors.numpy import save_file

    draft = folder.with_name(f".{folder.name}.draft")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        save_file(_without_head(best), draft / ARRAYS, {"format": "ssm_bench"})
        part = outcome.origins[-1]
        record = {
            "format": FORMAT,
            "objective": config.pretraining.objective,
            "mask_rate": config.pretraining.mask_rate,
            "steps": outcome.step,
            "seed": config.seed,
            "checksum": _sha256(draft / ARRAYS),
            "parameters": count_parameters(best["params"]),
            # Of training inputs that were held out of pretraining.
            "held_out": {
                "inputs": held_out,
                "accuracy": outcome.result["test_accuracy"],
                "loss": outcome.result["test_loss"],
                "best_step": outcome.result["best_step"],
            },
            "config": config.to_dict(),
            "vocabulary": list(dataset.vocabulary),
            "data": data_part(dataset.card),
            "curve": outcome.curve,
            "seconds": {name: round(value, 3) for name, value in outcome.seconds.items()},
            **{name: part[name] for name in ("device", "versions", "revision", "code")},
            "created": provenance.now(),
        }
        (draft / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    except OSError as error:
        raise UserError(f"cannot write pretrained weights to {folder}: {error.strerror}") from error


@dataclass(frozen=True)
class Pretrained:
    """Weights of a finished pretraining.

    Attributes:
        folder: their folder.
        record: their description, as in `pretraining.json`.
        arrays: the arrays by their paths in the trees of a classifier, such as ("params", "encoder", "table").
    """

    folder: Path
    record: dict[str, Any]
    arrays: dict[tuple[Any, ...], np.ndarray]

    def continued(self, config: ConfigDict, dataset: Dataset) -> ConfigDict:
        """The configuration of a run that starts from these weights: it describes them and has its own preset.

        Raises:
            UserError: the pretraining used another model, task, protocol, vocabulary or data set.
        """
        before, now = leaves(self.record["config"]), leaves(config.to_dict())
        for name in sorted({*before, *now}):
            if name.startswith(SAME) and name not in FREE and before.get(name) != now.get(name):
                told = [repr(found[name]) if name in found else "absent" for found in (before, now)]
                raise UserError(f"{self.folder} is a pretraining with {name} {told[0]}; in this run it is {told[1]}")
        if self.record["vocabulary"] != list(dataset.vocabulary):
            sizes = len(self.record["vocabulary"]), dataset.vocab_size
            raise UserError(
                f"{self.folder} is a pretraining with a vocabulary of {sizes[0]} tokens; this run has another of "
                f"{sizes[1]}"
            )
        if self.record["data"]["checksum"] != dataset.card["checksum"]:
            raise UserError(f"{self.folder} is a pretraining on other data of {config.task.name} than this run has")
        config = config.copy_and_resolve_references()
        config.preset = PRESETS[0] if config.preset == "quick" else PRESETS[1]
        for name in ("objective", "mask_rate", "steps", "seed", "checksum"):
            config.pretraining[name] = self.record[name]
        # Published results without pretraining are not comparable.
        for name in ("published_row", "published_source"):
            config.report[name] = self.record["config"]["report"][name]
        config.report.title = f"{config.report.title or config.model.name} (pretrained)"
        return config

    def check_made_by(self, config: ConfigDict) -> None:
        """Checks that the weights in a folder were pretrained with the settings of the command.

        Raises:
            UserError: names the first setting that differs.
        """
        before, now = leaves(self.record["config"]), leaves(config.to_dict())
        for name in sorted({*before, *now}):
            if not name.startswith(("report.", *PLACEMENT)) and before.get(name) != now.get(name):
                raise UserError(
                    f"{self.folder} holds weights with {name} {before.get(name)!r}, not {now.get(name)!r}: "
                    "choose another folder with --out, or replace them with --rerun"
                )

    def into(self, model: Split) -> Split:
        """A new classifier with these weights; its head keeps its initial values.

        Raises:
            UserError: the weights belong to a different model.
        """
        tree = {"params": model.params, "stats": model.stats}
        places: dict[Any, Any] = traverse_util.flatten_dict(tree, keep_empty_nodes=True)
        here = {name_of_path(path): path for path in places if _pretrained(path) and hasattr(places[path], "shape")}
        given = {name_of_path(path): array for path, array in self.arrays.items()}
        for name in sorted({*here, *given}):
            ours = places[here[name]].shape if name in here else "none"
            shapes = [given[name].shape if name in given else "none", ours]
            if shapes[0] != shapes[1]:
                raise UserError(f"{self.folder}: array {name} is {shapes[0]}; this model has {shapes[1]}")
        filled = places | {path: jnp.asarray(given[name]) for name, path in here.items()}
        return model._replace(**traverse_util.unflatten_dict(filled))


def read(folder: Path) -> Pretrained:
    """The weights that `pretrain` wrote.

    Raises:
        UserError: the folder has no weights, or they are damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise UserError(f"{folder / RECORD}: format is {record['format']!r}; this ssm-bench reads {FORMAT}")
        if _sha256(folder / ARRAYS) != record["checksum"]:
            raise UserError(f"{folder / ARRAYS} has changed since it was written: its checksum is not that of {RECORD}")
        arrays = load_file(folder / ARRAYS)
    except OSError as error:
        raise UserError(f"{folder} holds no pretrained weights: {error.strerror}: {error.filename}") from error
    except (SafetensorError, json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise UserError(f"{folder} holds no pretrained weights: {type(error).__name__}: {error}") from error
    return Pretrained(folder, record, {tuple(name.split(".")): array for name, array in arrays.items()})


def _without_head(best: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of the tower of a `Denoiser`, named as those of a classifier."""
    tower = {kind: best[kind].get("tower", {}) for kind in ("params", "stats")}
    return {name: array for name, array in flat(tower).items() if _pretrained(tuple(name.split(".")))}


def flat(tree: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of nested dicts by their paths, which are joined with dots."""
    paths = traverse_util.flatten_dict(tree)
    return {name_of_path(path): np.ascontiguousarray(array) for path, array in paths.items()}


def _pretrained(path: tuple[Any, ...]) -> bool:
    """Whether an array of a classifier, or of the tower of a `Denoiser`, is pretrained: all but the head."""
    return path[1:2] not in (("head",), ("head_hidden",))


def name_of_path(path: tuple[Any, ...]) -> str:
    """The name of an array in the file: its path, joined with dots."""
    return ".".join(map(str, path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
