"""Trained models as functions of arrays, loaded from a checkpoint or an exported folder, and their export."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx, traverse_util
from ml_collections import ConfigDict

from ssm_bench.data import TaskSpec
from ssm_bench.errors import UserError
from ssm_bench.network.backbone import Classifier
from ssm_bench.network.build import build, split
from ssm_bench.record import RunRecord, completed, store, validate
from ssm_bench.training.checkpoint import Checkpoints
from ssm_bench.training.run import checkpoint_folder, make_program, open_data

#: The files of an exported model.
ARRAYS, SETTINGS, CARD = "model.safetensors", "config.json", "README.md"

#: Version of the layout of SETTINGS.
FORMAT = 1


@dataclass(frozen=True)
class TrainedModel:
    """A model with the parameters of its best validation step; it maps arrays to logits.

    Attributes:
        config: the full configuration, as in a record.
        spec: the task.
        vocabulary: the token of each id; empty for pixels, whose inputs are gray levels 0..255.
        params: pure tree of parameters.
        stats: pure tree of batch statistics and constants.
        record: the record of the run.
    """

    config: dict[str, Any]
    spec: TaskSpec
    vocabulary: tuple[str, ...]
    params: Any
    stats: Any
    record: RunRecord

    def __call__(self, inputs: Any, lengths: Any = None) -> jax.Array:
        """Classifies a batch.

        Args:
            inputs: integers (b, l), or (b, documents, l) if an example has two documents; padding is on the right.
            lengths: unpadded lengths (b,) or (b, documents); None: no padding.

        Returns:
            Logits (b, classes), float32.

        Raises:
            ValueError: inputs have another shape or type.
        """
        inputs = np.asarray(inputs)
        if inputs.ndim == 2:
            inputs = inputs[:, None]
        if inputs.ndim != 3 or not np.issubdtype(inputs.dtype, np.integer):
            shapes = "(batch, length) or (batch, documents, length)"
            raise ValueError(f"inputs must be integers {shapes}; got {inputs.dtype} {inputs.shape}")
        if lengths is not None:
            lengths = np.asarray(lengths, np.int32).reshape(inputs.shape[:2])
        return self._apply(self.params, self.stats, inputs, lengths)

    @cached_property
    def module(self) -> Classifier:
        """The Flax module with these parameters, for example to read one block or to run a stream with `extend`."""
        return nnx.merge(self._graph, self.params, self.stats)

    @cached_property
    def _graph(self) -> Any:
        return split(_build(self.config, self.spec, self.vocabulary)).graph

    @cached_property
    def _apply(self) -> Any:
        graph = self._graph
        return jax.jit(lambda params, stats, *inputs: nnx.merge(graph, params, stats)(*inputs))

    def save(self, folder: Path | str) -> Path:
        """Writes the model as a folder: arrays (safetensors), configuration (JSON) and a model card (Markdown).

        Raises:
            ValueError: the folder exists and contains other files, or it cannot be written.
        """
        from safetensors.numpy import save_file

        folder = Path(folder)
        if folder.exists() and not (folder / SETTINGS).is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} exists and is not an exported model: choose another folder")
        settings = {
            "format": FORMAT,
            "config": self.config,
            "task": asdict(self.spec),
            "vocabulary": list(self.vocabulary),
            "record": self.record.to_dict(),
        }
        draft = folder.with_name(f".{folder.name}.draft")
        try:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            save_file(_flat({"params": self.params, "stats": self.stats}), draft / ARRAYS, {"format": "ssm_bench"})
            (draft / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
            (draft / CARD).write_text(card(self.record), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            draft.rename(folder)
        except OSError as error:
            raise UserError(f"cannot write the model to {folder}: {error.strerror}") from error
        return folder


def of_record(path: Path | str, checkpoints: Path | str | None = None) -> TrainedModel:
    """The model of a record: the one kept with `--keep-model`, else the best parameters of its checkpoint.

    Args:
        path: the path of the record, results/runs/<preset>/<task>/<model>/<name>.json.
        checkpoints: the folder of all checkpoints; None: `checkpoints` next to the folder of results.

    Raises:
        ValueError: the file is not a record, or neither a kept model nor a checkpoint exists.
    """
    path = Path(path).absolute()
    record = store.read(path)
    if path != store.home(record, path.parents[4]):
        raise UserError(f"{path} must be at runs/<preset>/<task>/<model>/<name>.json below a folder of results")
    if (kept := kept_folder(record, path.parents[4])).is_dir():
        return of_folder(kept)
    return of_checkpoint(record, Path(checkpoints or path.parents[5] / "checkpoints"))


def kept_folder(record: RunRecord, results: Path) -> Path:
    """The folder to which `--keep-model` writes the model of a record."""
    return results / "models" / record.preset / record.task.name / record.model.name / record.name


def of_checkpoint(record: RunRecord, checkpoints: Path) -> TrainedModel:
    """The model of a record with the best parameters of its checkpoint.

    Raises:
        ValueError: there is no checkpoint, or the data that determine the sizes of the model have changed.
    """
    config, dataset = open_data(ConfigDict(completed(record.config)))
    folder = checkpoint_folder(config, dataset, checkpoints)
    if dataset.card["checksum"] != record.data.checksum:
        raise UserError(f"the prepared data of {record.task.name} differ from those of the record {record.name}")
    program = make_program(config, dataset)
    best = {"params": program.model.params, "stats": program.model.stats}
    restored = Checkpoints(folder).restore({"state": program.initial_state(), "best": best})
    if restored is None:
        raise UserError(f"no checkpoint of {record.model.name} on {record.task.name} at {folder}: train it again")
    best = jax.tree.map(np.asarray, restored[0]["best"])
    return TrainedModel(record.config, dataset.spec, dataset.vocabulary, best["params"], best["stats"], record)


def of_folder(folder: Path | str) -> TrainedModel:
    """The model that `TrainedModel.save` wrote.

    Raises:
        ValueError: the folder contains no such model, or its arrays do not match its configuration.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = Path(folder)
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        if settings["format"] != FORMAT:
            raise UserError(f"{folder / SETTINGS}: format is {settings['format']!r}; this ssm-bench reads {FORMAT}")
        arrays = load_file(folder / ARRAYS)
        spec, vocabulary = TaskSpec(**settings["task"]), tuple(settings["vocabulary"])
        record = validate(settings["record"], str(folder / SETTINGS))
        config = settings["config"]
    except OSError as error:
        raise UserError(f"{folder} holds no exported model: {error.strerror}: {error.filename}") from error
    except (SafetensorError, json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise UserError(f"{folder} holds no exported model: {type(error).__name__}: {error}") from error
    made = split(_build(config, spec, vocabulary))
    wanted = _flat({"params": made.params, "stats": made.stats})
    for name in sorted({*wanted, *arrays}):
        shapes = [array[name].shape if name in array else "none" for array in (arrays, wanted)]
        if shapes[0] != shapes[1]:
            raise UserError(f"{folder / ARRAYS}: array {name} is {shapes[0]}; its configuration requires {shapes[1]}")
    # Empty subtrees have no arrays, but are part of the tree.
    flat = traverse_util.flatten_dict({"params": made.params, "stats": made.stats}, keep_empty_nodes=True)
    filled = {path: arrays.get(_name(path), value) for path, value in flat.items()}
    tree = traverse_util.unflatten_dict(filled)
    return TrainedModel(config, spec, vocabulary, tree["params"], tree["stats"], record)


def _build(config: Mapping[str, Any], spec: TaskSpec, vocabulary: tuple[str, ...]) -> Classifier:
    settings, pixels = ConfigDict(completed(config)), (spec.pixel_mean, spec.pixel_std)
    return build(settings, spec, vocab_size=len(vocabulary), pixels=pixels, rngs=nnx.Rngs(settings.seed))


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


def _flat(tree: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of nested dicts by their names joined with dots."""
    return {_name(path): np.ascontiguousarray(array) for path, array in traverse_util.flatten_dict(tree).items()}


def card(record: RunRecord) -> str:
    """A model card in Markdown, generated from the record."""
    result, steps = record.result, record.steps
    accuracy = f"{100 * result.test_accuracy:.2f} % at step {result.best_step}" if result else "not scored"
    share = f" ({100 * steps.done / steps.published:.3g} % of the recipe's schedule)" if steps.published else ""
    facts = {
        "Task": f"{record.task.title}, {record.task.classes} classes, up to {record.task.length} positions",
        "Data": record.data.identity,
        "Test accuracy": accuracy,
        "Steps": f"{steps.done} of {steps.planned}{share}",
        "Preset and protocol": f"{record.preset}, {record.protocol}",
        "Parameters": f"{record.model.parameters:,}",
        "Seed": str(record.seed),
        "Code": f"ssm_bench {record.versions.get('ssm_bench', '')}, {record.revision.commit}",
    }
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    cite = f"\n```bibtex\n{record.model.bibtex}\n```\n" if record.model.bibtex else ""
    return f"""---
library_name: ssm_bench
tags: [long-range-arena, {record.task.name}, {record.model.name}]
---

# {record.model.title} on {record.task.title}

| | |
|---|---|
{rows}

```python
import ssm_bench

model = ssm_bench.load("this folder")
logits = model(tokens, lengths)    # integers (batch, length), true lengths (batch,)
```

`config.json` holds every setting, the vocabulary and the record of the run; `model.safetensors` the parameters
(`params.*`) and batch statistics (`stats.*`).
{cite}"""
