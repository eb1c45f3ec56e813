"""A forward and a backward pass of each model named, at the width and state size of its recipes, with all threads.

Prints the name of each model when it has ended. Layers are alike: one of them, and a short sequence, keep compiling
fast. Two passes at once give more work than a pool of two threads has room for.
"""

import sys

import jax
import jax.numpy as jnp
from flax import nnx

from ssm_bench.config import get_config
from ssm_bench.data import spec, tasks
from ssm_bench.data.task import LRA
from ssm_bench.network.build import build, split
from ssm_bench.sweep.recipe import resolve

LAYERS, LENGTH = 1, 64

# A pass starts before another has ended: two programs may not block each other either.
PASSES = 3


def run(name: str) -> None:
    columns = [task.spec.name for task in tasks(suite=LRA)]
    task = max(columns, key=lambda task: get_config(name, spec(task)).model.d_model)
    layers = min(LAYERS, get_config(name, spec(task)).model.layers)
    overrides = [f"--config.model.layers={layers}", f"--config.task.max_length={LENGTH}"]
    config = resolve(name, task, overrides=overrides)
    kind = spec(task)
    graphs = []

    def make():
        model = split(build(config, kind, vocab_size=256, pixels=(0.5, 0.25), rngs=nnx.Rngs(0)))
        graphs.append(model.graph)
        return model.params, model.stats

    # Drawing initial values would take longer than all else; their shapes are enough.
    params, stats = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.01, leaf.dtype), jax.eval_shape(make))
    inputs = jnp.ones((1, kind.documents, LENGTH), jnp.uint8)

    @jax.jit
    @jax.grad
    def passes(params):
        return nnx.merge(graphs[0], params, stats)(inputs, None, train=True, key=jax.random.key(0)).sum()

    jax.block_until_ready([passes(params) for _ in range(PASSES)])


for name in sys.argv[1:]:
    run(name)
    print(name, flush=True)
