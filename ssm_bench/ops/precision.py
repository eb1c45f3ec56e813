"""The type that sums, states and transforms are computed in."""

import jax
import jax.numpy as jnp


def widened(x: jax.Array) -> jax.Array:
    """x in float32 or better."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
