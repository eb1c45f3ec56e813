"""Blocks in a loop compute what unrolled blocks compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.data import spec
from ssm_bench.network import backbone
from ssm_bench.network.build import build, split
from ssm_bench.network.layer_loop import alike
from ssm_bench.sweep.recipe import resolve
from ssm_bench.training.identity import recipe

TOKENS = jax.random.randint(jax.random.key(1), (3, 1, 32), 0, 16)
LENGTHS = jnp.array([[32], [20], [7]])


def made(model: str, layers: int, scan_layers: str, **settings):
    config = resolve(model, "listops", preset="quick", data="synthetic")
    config.model.update(layers=layers, dropout=0.2, tie_dropout=False, scan_layers=scan_layers, **settings)
    config.task.max_length = 32
    return build(config, spec("listops"), vocab_size=16, pixels=(0.0, 1.0), rngs=nnx.Rngs(0))


def computed(model, *, train: bool, key):
    """Logits and batch statistics of a compiled model, and gradients in training."""
    parts = split(model)

    @jax.jit
    def compute(params, stats):
        def loss(params):
            model = nnx.merge(parts.graph, params, stats)
            logits = model(TOKENS, LENGTHS, train=train, key=key)
            found = {"logits": logits, "stats": nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))}
            return jnp.square(logits).sum(), found

        if not train:
            return loss(params)[1]
        gradients, found = jax.grad(loss, has_aux=True)(params)
        return found | {"gradients": gradients}

    return compute(parts.params, parts.stats)


@pytest.mark.parametrize(
    ("model", "layers", "norm"),
    [
        ("s5", 2, "batch"),
        pytest.param("transformer", 2, "layer", marks=pytest.mark.thorough),
        pytest.param("mamba", 2, "rms", marks=pytest.mark.thorough),
    ],
)
def test_a_loop_changes_no_logits_gradients_statistics_or_dropout(model, layers, norm):
    unrolled, looped = (made(model, layers, scan_layers, norm=norm) for scan_layers in ("off", "on"))
    before = nnx.to_pure_dict(nnx.state(looped, nnx.BatchStat))
    for train, key in ((True, jax.random.key(2)), (False, None))[: 2 if norm == "batch" else 1]:
        expected, found = (computed(each, train=train, key=key) for each in (unrolled, looped))
        for name in expected:
            paths = jax.tree_util.tree_leaves_with_path(expected[name])
            assert jax.tree.structure(expected[name]) == jax.tree.structure(found[name])
            for (path, right), value in zip(paths, jax.tree.leaves(found[name]), strict=True):
                scale = float(jnp.abs(right).max()) or 1.0
                np.testing.assert_allclose(value, right, atol=2e-5 * scale, err_msg=f"{name} {path}")
        if norm == "batch":
            moved = jax.tree.map(lambda a, b: bool((a != b).any()), before["blocks"], found["stats"]["blocks"])
            assert all(each is train for each in jax.tree.leaves(moved))


@pytest.mark.parametrize(("model", "runs"), [("griffin", [2, 1, 2]), ("s4", [5]), ("lssl", [5]), ("performer", [5])])
def test_only_equal_neighbors_share_a_loop(model, runs):
    assert [len(run) for run in alike(list(made(model, 5, "on").blocks))] == runs


def test_a_call_outside_of_a_compiled_program_is_unrolled(monkeypatch):
    monkeypatch.setattr(backbone, "in_a_loop", None)
    assert made("fnet", 2, "on")(TOKENS, None).shape == (3, 10)


def test_a_loop_makes_no_other_run():
    config = resolve("s5", "listops", preset="quick", data="synthetic")
    unrolled = recipe(config)
    config.model.scan_layers = "on"
    assert recipe(config) == unrolled
