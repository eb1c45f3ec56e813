"""Programs for a GPU, made without one."""

from contextlib import nullcontext

import jax


def lowered_for_a_gpu(function, *arguments) -> str:
    """The program of a function of arrays of these shapes for an NVIDIA GPU, as text."""
    # From 0.11 on JAX asks which GPU it is for.
    context = nullcontext()
    if jax.__version_info__ >= (0, 11):
        device = jax.sharding.AbstractDevice("NVIDIA H100 80GB HBM3", None, "gpu")
        mesh = jax.sharding.AbstractMesh((), (), abstract_device=device)
        context = jax.sharding.use_abstract_mesh(mesh)
    with context:
        return jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()
