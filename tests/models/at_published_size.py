"""A forward and a backward pass of each model named, at the width and state size of its recipes, with all threads.

Prints the name of each model when it has ended. Layers are alike: a few of them, and a short sequence, keep compiling
fast, while the program still has more work at once than a pool of two threads.
"""

import sys

import jax
import jax.numpy as jnp
from flax import nnx

from ssm_bench import registry
from ssm_bench.config import get_config
from ssm_bench.data import spec
from ssm_bench.network.build import build, split
from ssm_bench.sweep.recipe import resolve

LAYERS, LENGTH = 3, 64

# A pass starts before another has ended: two programs may not block each other either.
PASSES = 3


def run(name: str) -> None:
    task = max(registry.names("tasks"), key=lambda task: get_config(name, task).model.d_model)
    layers = min(LAYERS, get_config(name, task).model.layers)
    overrides = [f"--config.model.layers={layers}", f"--config.task.max_length={LENGTH}"]
    config = resolve(name, task, overrides=overrides)
    kind = spec(task)
    model = split(build(config, kind, vocab_size=256, pixels=(0.5, 0.25), rngs=nnx.Rngs(0)))
    inputs = jnp.ones((1, kind.documents, LENGTH), jnp.uint8)

    @jax.jit
    @jax.value_and_grad
    def passes(params):
        return nnx.merge(model.graph, params, model.stats)(inputs, None, train=True, key=jax.random.key(0)).sum()

    losses = [passes(model.params)[0] for _ in range(PASSES)]
    assert jnp.isfinite(jnp.stack(losses)).all(), name


for name in sys.argv[1:]:
    run(name)
    print(name, flush=True)
