"""The linear recurrence on sequences that are divided among devices: a scan on each, and an exchange of states."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Inexact

from ssm_bench.ops.recurrence import linear_recurrence
from ssm_bench.ops.sharding import AXIS, SEQUENCE_AXIS


def divided_recurrence(
    a: Inexact[Array, "..."],
    b: Inexact[Array, "b l *state"],
    h0: Inexact[Array, "#b *#state"],
    *,
    logarithmic: bool,
    reverse: bool,
    backend: str,
) -> Inexact[Array, "b l *state"]:
    """`linear_recurrence` with the time axis divided among the devices of the axis SEQUENCE_AXIS of the present mesh.

    Each device solves the recurrence on its own part from a zero state. The last states of all parts and the factors
    by which the parts let a state decay are gathered, b p numbers each for every device; from these each device finds
    the state before its part, and adds what is left of it at every step.

    Args:
        a: time-varying (b or 1, l, ...), or constant (...) with two axes fewer than `b`.
        b: the inputs (b, l, ...); the number of devices divides l.
        h0: the state before the first step, or after the last one with `reverse`, (b, ...).
        logarithmic: whether `a` is the logarithm of a constant coefficient.
        reverse: run from the last step to the first.
        backend: as in `linear_recurrence`.

    Returns:
        Every state h (b, l, ...), divided in the same way.

    Raises:
        ValueError: the length is not a multiple of the number of devices.
    """
    mesh = jax.sharding.get_abstract_mesh()
    devices = mesh.shape[SEQUENCE_AXIS]
    constant = a.ndim == b.ndim - 2
    if b.shape[1] % devices:
        raise ValueError(f"a sequence of {b.shape[1]} steps cannot be divided evenly among {devices} devices")

    def solve(a: Array, b: Array, h0: Array | None = None) -> Array:
        coefficient, log_a = (None, a) if logarithmic else (a, None)
        return linear_recurrence(coefficient, b, log_a=log_a, h0=h0, reverse=reverse, backend=backend)

    def on_device(a: Array, b: Array, h0: Array) -> Array:
        states = solve(a, b)
        # What is left of a state of one before the part.
        nothing = jnp.zeros(
            (1, *b.shape[1:]) if constant else jnp.broadcast_shapes(a.shape, (1, *b.shape[1:])), b.dtype
        )
        decay = solve(a, nothing, jnp.ones_like(nothing[:, 0]))
        last = 0 if reverse else -1
        ends, decays = (jax.lax.all_gather(each[:, last], SEQUENCE_AXIS) for each in (states, decay))
        before = [h0.astype(states.dtype)]
        for device in range(devices)[:: -1 if reverse else 1]:
            before.append(decays[device] * before[-1] + ends[device])
        before = jnp.stack(before[:-1][:: -1 if reverse else 1])[jax.lax.axis_index(SEQUENCE_AXIS)]
        return states + decay * before[:, None]

    batch = AXIS if AXIS in mesh.axis_names else None
    sequences = PartitionSpec(batch, SEQUENCE_AXIS)
    coefficients = PartitionSpec() if constant else PartitionSpec(batch if len(a) > 1 else None, SEQUENCE_AXIS)
    specs = (coefficients, sequences, PartitionSpec(batch))
    return jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=sequences, check_vma=False)(a, b, h0)
