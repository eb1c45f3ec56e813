"""The kind of system, parameters and state size of every model, from classes and recipes, without allocating arrays."""

from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import jax
from flax import nnx
from ml_collections import ConfigDict

from ssm_bench import registry
from ssm_bench.config import has_recipe
from ssm_bench.data import spec
from ssm_bench.network.backbone import Classifier
from ssm_bench.network.build import build
from ssm_bench.network.mixer import Mixer
from ssm_bench.report.model_table import Row, Size
from ssm_bench.sweep.cells import Cell, Choices, opened


def model_rows(
    models: Sequence[str], tasks: Sequence[str], *, data: str = "auto", tell: Callable[[str], None] = print
) -> tuple[list[Row], list[str]]:
    """A row for every model that has a recipe for one of the tasks, and notes on the data that determine vocabularies.

    Args:
        models: names of experiments.
        tasks: names of tasks.
        data: "auto", "real" or "synthetic", as for a run.
        tell: reports progress.

    Raises:
        UserError: an unknown name, or no such data.
    """
    choices = Choices(preset="paper", data=data)
    facts: dict[str, list[dict[str, str]]] = {model: [] for model in models}
    sizes: dict[str, dict[str, Size]] = {model: {} for model in models}
    identities: dict[str, str] = {}
    # Ordered by task, so that each data set is opened once.
    for task in tasks:
        for model in models:
            if not has_recipe(model, task):
                continue
            tell(f"{model} on {task}")
            config = choices.config(Cell(model=model, task=task, seed=0))
            # The data set of a task of pixels, whose vocabulary is known, need not be opened.
            vocabulary = 0
            if spec(task).kind == "tokens":
                config, dataset = opened(config)
                vocabulary, identities[dataset.spec.title] = dataset.vocab_size, dataset.card["identity"]
            # Stand-ins are shorter than the task, and tables of positions are not.
            config.task.max_length = spec(task).max_length
            traits = registry.subclass("mixers", config.model.mixer, Mixer).traits
            facts[model].append(
                {
                    "title": config.report.title or model,
                    "parametrization": traits.parametrization,
                    "discretization": config.mixer.get("discretization", traits.discretization),
                    "structure": traits.structure,
                    "implementation": traits.implementation,
                    "scaffold": config.model.scaffold,
                }
            )
            sizes[model][task] = _size(config, task, vocabulary)
    rows = [
        Row(name=model, sizes=sizes[model], **{name: _each(f[name] for f in facts[model]) for name in facts[model][0]})
        for model in models
        if facts[model]
    ]
    found = "; ".join(f"{title}: {identity}" for title, identity in identities.items())
    return rows, [f"Vocabularies of the data found here: {found}."]


def _each(texts: Iterable[str]) -> str:
    """The distinct texts, in order."""
    return ", ".join(dict.fromkeys(texts))


def _size(config: ConfigDict, task: str, vocabulary: int) -> Size:
    key = jax.random.key(0)
    # No number is drawn, and counting the keys of a stream would take longer than all else.
    rngs: Any = SimpleNamespace(params=lambda: key)

    def make() -> Classifier:
        return build(config, spec(task), vocab_size=vocabulary, pixels=(0.0, 1.0), rngs=rngs)

    model = nnx.eval_shape(make)
    leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
    return Size(parameters=sum(leaf.size for leaf in leaves), state=model.state_size)
