"""The MLP scaffold: what it keeps for its gradient, and that this changes no gradient."""

import re

import jax
import numpy as np
import pytest
from flax import nnx
from jax.ad_checkpoint import print_saved_residuals

from ssm_bench.mixers.lru import LRU
from ssm_bench.network.layers import make_norm
from ssm_bench.network.scaffold import Slots
from ssm_bench.scaffolds.mlp import MLP

BATCH, LENGTH, WIDTH, HIDDEN = 2, 11, 8, 24
# The same float32 numbers, fused in another way.
TOLERANCE = 2e-6


def make(*, dropout=0.1, tied=False):
    slots = Slots(
        d_model=WIDTH,
        mixer=lambda width, rngs: LRU(width, state_size=4, rngs=rngs),
        norm=lambda width: make_norm("layer", width),
        prenorm=True,
        dropout=dropout,
        tie_dropout=tied,
        layers=1,
    )
    return nnx.split(MLP(slots, width=HIDDEN, rngs=nnx.Rngs(0)))


def loss_of(graph):
    def loss(state, x, key):
        return (nnx.merge(graph, state)(x, mask=None, train=True, key=key) ** 2).sum()

    return loss


def inputs():
    return jax.random.normal(jax.random.key(1), (BATCH, LENGTH, WIDTH)), jax.random.key(2)


def test_of_the_hidden_width_only_what_products_give_and_take_is_kept(capsys):
    graph, state = make()
    print_saved_residuals(loss_of(graph), state, *inputs())
    kept = re.findall(rf"^(\w+)\[{BATCH},{LENGTH},{HIDDEN}\]", capsys.readouterr().out, re.MULTILINE)
    # No mask, no GELU.
    assert len(kept) == 2 and "bool" not in kept


@pytest.mark.parametrize(("dropout", "tied"), [(0.0, False), (0.3, False), (0.3, True)])
def test_gradients_are_those_of_an_activation_that_is_kept(monkeypatch, dropout, tied):
    graph, state = make(dropout=dropout, tied=tied)
    again = jax.jit(jax.grad(loss_of(graph), argnums=(0, 1)))(state, *inputs())
    monkeypatch.setattr(jax, "checkpoint", lambda f: f)
    kept = jax.jit(jax.grad(loss_of(graph), argnums=(0, 1)))(state, *inputs())
    for ours, expected in zip(jax.tree.leaves(again), jax.tree.leaves(kept), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max())
