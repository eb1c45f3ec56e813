"""Numerical limits that operations and their kernels share."""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

#: The largest derivative of the square root in the input gain of the RG-LRU, as published with RecurrentGemma: the true
#: one is infinite at a = 1.
MAX_ROOT_DERIVATIVE = 1000.0


def widened(x: Inexact[Array, "*shape"]) -> Inexact[Array, "*shape"]:
    """x in float32 or better."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
