"""The linear recurrence on sequences that are divided among devices: a scan on each, and an exchange of states."""

import math
from functools import partial
from typing import Any

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
    by which the parts let a state decay are gathered, two states for every device; from these each device finds the
    state before its part, and adds what is left of it at every step. The gradient is the recurrence run the other way,
    divided in the same way: only the states themselves are kept for it, as on one device.

    Args:
        a: time-varying (b, l, ...), or constant (...) with two axes fewer than `b`; trailing axes as in `b`.
        b: the inputs (b, l, ...), of the type of `a`; the number of devices divides l.
        h0: the state before the first step, or after the last one with `reverse`, (b, ...), of the type of `a`.
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
    if b.shape[1] % devices:
        raise ValueError(f"a sequence of {b.shape[1]} steps cannot be divided evenly among {devices} devices")
    batch = AXIS if AXIS in mesh.axis_names else None
    sequences, states = PartitionSpec(batch, SEQUENCE_AXIS), PartitionSpec(batch)
    specs = (PartitionSpec() if a.ndim == b.ndim - 2 else sequences, sequences, states)

    def on_device(a: Array, b: Array, h0: Array) -> Array:
        return _part(a, b, h0, logarithmic, reverse, backend)

    return jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=sequences, check_vma=False)(a, b, h0)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _part(a: Array, b: Array, h0: Array, logarithmic: bool, reverse: bool, backend: str) -> Array:
    """The states of the part of this device; `h0` is the state before the whole sequence."""
    solve = partial(_solve, a, logarithmic=logarithmic, reverse=reverse, backend=backend)
    states = solve(b)
    if a.ndim == b.ndim:
        decay = solve(jnp.zeros_like(b), h0=jnp.ones_like(h0))
    else:
        decay = _powers(a, b.shape[1], logarithmic, reverse)
    last = 0 if reverse else -1
    ends, decays = (jax.lax.all_gather(each[:, last], SEQUENCE_AXIS) for each in (states, decay))
    before = [h0]
    for device in range(len(ends))[:: -1 if reverse else 1][:-1]:
        before.append(decays[device] * before[-1] + ends[device])
    before = jnp.stack(before)[_place(reverse)]
    return states + decay * before[:, None]


def _solve(a: Array, b: Array, *, logarithmic: bool, **options: Any) -> Array:
    """`linear_recurrence` with `a` or its logarithm."""
    return linear_recurrence(None if logarithmic else a, b, log_a=a if logarithmic else None, **options)


def _powers(a: Array, length: int, logarithmic: bool, reverse: bool) -> Array:
    """a, a^2, ..., a^length as (1, length, ...), or in the opposite order with `reverse`.

    They are products a^(i k) a^j of two short sequences, which the compiler computes where they are used.
    """
    inner = math.gcd(length, 2 ** (length.bit_length() // 2))
    one = jnp.ones((1, *a.shape), a.dtype)

    def powers(a: Array, count: int) -> Array:
        """The first `count` powers (1, count, ...)."""
        return _solve(a, jnp.zeros((1, count, *a.shape), a.dtype), logarithmic=logarithmic, h0=one)

    step = inner * a if logarithmic else jax.lax.integer_pow(a, inner)
    blocks = jnp.concatenate([one[:, None], powers(step, length // inner)[:, :-1]], axis=1)
    factors = (blocks, powers(a, inner))
    blocks, steps = (jnp.flip(each, axis=1) for each in factors) if reverse else factors
    return (blocks[:, :, None] * steps[:, None]).reshape(1, length, *a.shape)


def _part_forward(a, b, h0, logarithmic, reverse, backend):
    h = _part(a, b, h0, logarithmic, reverse, backend)
    return h, (a, h, h0)


def _part_backward(logarithmic, reverse, backend, residuals, gradient):
    """The adjoint, as in `linear_recurrence`: g_t = a_{t+1} g_{t+1} + dh_t, then db = g and da_t = g_t h_{t-1}."""
    a, h, h0 = residuals
    constant = a.ndim == h.ndim - 2
    # The coefficient after the last step meets a zero state, so any value serves.
    shifted = a if constant else _delayed(a, a[:, 0], not reverse)
    g: Array = _part(shifted, gradient, jnp.zeros_like(h0), logarithmic, not reverse, backend)
    grad_a = g * _delayed(h, h0, reverse)
    factor = jnp.exp(a) if logarithmic else a
    first = -1 if reverse else 0
    grad_h0 = (factor if constant else factor[:, first]) * g[:, first]
    if constant:
        grad_a = grad_a.sum((0, 1))
    if logarithmic:
        grad_a = grad_a * factor
    # The gradients of all devices are added up.
    return grad_a, g, jnp.where(_place(reverse) == 0, grad_h0, 0)


_part.defvjp(_part_forward, _part_backward)


def _place(reverse: bool) -> Array:
    """The number of devices whose parts come before that of this device."""
    index = jax.lax.axis_index(SEQUENCE_AXIS)
    return jax.lax.axis_size(SEQUENCE_AXIS) - 1 - index if reverse else index


def _delayed(x: Array, before: Array, reverse: bool) -> Array:
    """x_{t-1} for the part x (b, l, ...) of this device, or x_{t+1} with `reverse`; `before` is that of the first."""
    devices = jax.lax.axis_size(SEQUENCE_AXIS)
    neighbors = [(i + 1, i) if reverse else (i, i + 1) for i in range(devices - 1)]
    arrived = jax.lax.ppermute(x[:, 0 if reverse else -1], SEQUENCE_AXIS, neighbors)
    arrived = jnp.where(_place(reverse) == 0, before, arrived)[:, None]
    return jnp.concatenate([x[:, 1:], arrived] if reverse else [arrived, x[:, :-1]], axis=1)
