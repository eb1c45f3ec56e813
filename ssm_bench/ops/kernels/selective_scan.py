"""The selective scan as one kernel for NVIDIA GPUs: the states stay in registers and never reach memory.

Here stands how the work is shared out and what is kept for the backward pass; what a program does with its share is in
`selective_scan_program`. The reference in `selective_scan` computes the same everywhere.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ssm_bench.ops.kernels.gpu import call
from ssm_bench.ops.kernels.selective_scan_program import (
    Inputs,
    Layout,
    backward_kernel,
    forward_kernel,
    threads_over_channels,
    turn_of,
)
from ssm_bench.ops.kernels.walk import Parts, from_parts, to_parts

# Steps whose states the backward pass holds in registers at once.
_CHUNK = 8

# Chunks between two states that the forward pass keeps, at most. The backward pass makes those between again.
_GROUP = 16

# Segments that the backward pass takes one after the other, at most: in each, gradients of B and C stand apart for each
# program until they are added.
_SEGMENTS = 16

# Steps that the loads of the backward pass are ahead of their use.
_AHEAD = 1

# Real numbers of state that one warp holds: eight registers a thread.
_STATES = 256

# Warps of one program, forward and backward. The backward pass adds the gradients of B and C over the channels of a
# program before it leaves them to the sum over programs.
_FORWARD_WARPS, _BACKWARD_WARPS = 1, 4

# Warps that a GPU has room for; where there are fewer, each holds fewer states. Backward ones take all registers that a
# thread can have, so that 8 fit one of 132 multiprocessors, and a little more than 1,056 would take twice the time.
_FORWARD_ROOM, _BACKWARD_ROOM = 1024, 768

# Warps of the backward pass that run at the same time on a GPU. One run of its kernel takes as many rows of the batch,
# so that there is no more memory to work in than programs that need it.
_AT_ONCE = 1056


def fused_scan(
    u: jax.Array,
    delta: jax.Array,
    A: jax.Array,
    B: jax.Array,
    C: jax.Array,
    D: jax.Array,
    z: jax.Array | None,
    delta_bias: jax.Array,
    h0: jax.Array,
    *,
    softplus: bool,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """`selective_scan` with a last state.

    Args:
        u: inputs (b, l, d), of any real type up to float32, as delta, B, C and z.
        delta: step sizes (b, l, d) before bias and softplus.
        A: decay rates (d, n), float32 or complex64.
        B: input coefficients (b, l, n), or complex64.
        C: output coefficients (b, l, n), or complex64.
        D: the gain of the direct path (d,).
        z: the gate before its SiLU (b, l, d), or None.
        delta_bias: added to delta (d,).
        h0: the state before the first step (b, d, n), of the type of A.
        softplus: delta passes through a softplus.
        interpret: run without a GPU, slowly, for tests.

    Returns:
        y (b, l, d) in the type of u and the last state (b, d, n). Memory O(b l d + b l d n / 128).

    Differentiable in reverse mode.
    """
    if not softplus:
        # Steps of size zero, which fill up the last chunk, have to stay so.
        delta, delta_bias = delta + delta_bias, jnp.zeros_like(delta_bias)
    # Small next to u. Of half precision, a thread would load other states than it holds of the rest.
    B, C = B.astype(A.dtype), C.astype(A.dtype)
    # y = sum of parts of C times parts of h.
    C = 2 * jnp.conj(C) if jnp.iscomplexobj(A) else C
    inputs = Inputs(u, delta, to_parts(A), to_parts(B), to_parts(C), D, z, delta_bias, to_parts(h0))
    solved: tuple[jax.Array, Parts] = _scan(inputs, softplus, interpret)
    y, last = solved
    return y, from_parts(last)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _scan(inputs: Inputs, softplus: bool, interpret: bool) -> tuple[jax.Array, Parts]:
    """y (b, l, d) and the last state."""
    found = _solve(inputs, softplus, interpret)
    return found["y"], found["last"]


def _forward(inputs, softplus, interpret):
    found = _solve(inputs, softplus, interpret, keep=True)
    kept = {name: found[name] for name in ("boundaries", "ungated")}
    return (found["y"], found["last"]), (inputs, kept)


def _solve(inputs: Inputs, softplus: bool, interpret: bool, keep: bool = False) -> dict[str, Any]:
    """y and the last state; with `keep` also the states between chunks and y before its gate, for the backward pass."""
    length = inputs.u.shape[1]
    group = _group(inputs)
    inputs = _whole_groups(inputs, group, softplus)
    (b, l, d), n, parts = inputs.u.shape, inputs.A[0].shape[1], len(inputs.A)
    sequence, gate = jax.ShapeDtypeStruct((b, l, d), inputs.u.dtype), inputs.z is not None
    outputs: dict[str, Any] = {"y": sequence, "last": [(b, d, n)] * parts}
    if keep:
        outputs |= {"boundaries": [(b, l // (_CHUNK * group), d, n)] * parts, "ungated": sequence if gate else None}
    layout = _layout(inputs, group, _FORWARD_WARPS, _FORWARD_ROOM)
    outputs["work"] = _work(layout, b, d, sums=1)
    found = _run(forward_kernel, layout, outputs, inputs, {}, softplus, interpret)
    return found | {"y": found["y"][:, :length]}


def _backward(softplus, interpret, residuals, cotangents):
    given, kept = residuals
    dy, dlast = cotangents
    length, group = dy.shape[1], _group(given)
    inputs = _whole_groups(given, group, softplus)
    (b, l, d), n, parts = inputs.u.shape, inputs.A[0].shape[1], len(inputs.A)
    layout = _layout(inputs, group, _BACKWARD_WARPS, _BACKWARD_ROOM)
    blocks, steps = d // layout.width, layout.segment * group * _CHUNK
    segments, rows = l // steps, min(b, max(1, _AT_ONCE // (blocks * layout.warps)))
    scratch: dict[str, Any] = {name: [(rows, blocks, steps, n)] * parts for name in ("B", "C")}
    # For the threads of a program to add up a chunk of the two; too small to leave the cache.
    scratch["partial"] = [(rows, blocks, 2, _CHUNK, layout.warps * threads_over_channels(layout.width, n), n)] * parts
    scratch["work"] = _work(layout, rows, d, sums=2)
    # The states before the chunks of a group, while it is gone through.
    scratch["states"] = [(rows, blocks, group, layout.width, n)] * parts
    kept = kept | {"dy": _filled(dy, group)}
    # By z there stands y before its gate, which no other array needs.
    begun = {"u": jnp.zeros_like(inputs.u), "delta": jnp.zeros_like(inputs.delta), "z": kept.pop("ungated")}
    zeros = partial(jnp.zeros, dtype=jnp.float32)
    begun |= {"A": [zeros((b, d, n))] * parts, "h0": dlast, "D": zeros((b, d)), "delta_bias": zeros((b, d))}
    projections = {name: [zeros((b, l, n))] * parts for name in ("B", "C")}

    def turn(k, found):
        begun, projections = found
        segment, row, new = turn_of(k, segments, rows, b)
        others = kept | {"turn": jnp.reshape(k, 1)}
        made = _run(backward_kernel, layout, scratch, inputs, others, softplus, interpret, begun, rows)

        def put(total, parts):
            # Sums over programs; kept apart and added here they come out the same each time.
            place, added = (row, segment * steps, jnp.zeros_like(row)), parts.sum(1)
            done = (row + jnp.arange(rows) < new)[:, None, None]
            added = jnp.where(done, lax.dynamic_slice(total, place, added.shape), added)
            return lax.dynamic_update_slice(total, added, place)

        added = jax.tree.map(put, projections, {name: made[name] for name in projections})
        return {name: made[name] for name in begun}, added

    gradients, projections = lax.fori_loop(jnp.int32(0), -(-b // rows) * segments, turn, (begun, projections))
    per_row = {name: jax.tree.map(lambda x: x.sum(0), gradients[name]) for name in ("A", "D", "delta_bias")}
    found = Inputs(**(gradients | per_row | projections))
    cut = {name: jax.tree.map(lambda x: x[:, :length], getattr(found, name)) for name in ("u", "delta", "z", "B", "C")}
    return (jax.tree.map(lambda gradient, x: gradient.astype(x.dtype), found._replace(**cut), given),)


_scan.defvjp(_forward, _backward)


def _group(inputs: Inputs) -> int:
    """Chunks between two states that the forward pass keeps."""
    return min(_GROUP, -(-inputs.u.shape[1] // _CHUNK))


def _layout(inputs: Inputs, group: int, warps: int, room: int) -> Layout:
    """How the programs of one pass share the channels, so many warps each at most."""
    (b, l, d), n, parts = inputs.u.shape, inputs.A[0].shape[1], len(inputs.A)
    wanted = warps * min(_STATES // (n * parts), b * d // room)
    # A power of two that divides d.
    width = min(1 << max(1, wanted).bit_length() - 1, d & -d)
    warps = min(warps, width // threads_over_channels(width, n))
    groups = l // (_CHUNK * group)
    segments = max(count for count in range(1, _SEGMENTS + 1) if groups % count == 0)
    return Layout(width, warps, _CHUNK, group, groups // segments, _AHEAD)


def _work(layout: Layout, rows: int, d: int, *, sums: int) -> dict[str, tuple[int, ...]]:
    """The shapes of what programs work in, with so many sums for each channel and step of a chunk; see `_Program`."""
    blocks, width, chunk = d // layout.width, layout.width, layout.chunk
    return {"steps": (rows, blocks, 2, chunk, width, 4), "sums": (rows, blocks, sums, width, chunk)}


def _run(kernel, layout, outputs, inputs, others, softplus, interpret, begun=None, rows=None):
    """The outputs of a kernel by name, run on all rows or on some."""
    b, _, d = inputs.u.shape
    kernel, grid = partial(kernel, layout=layout, softplus=softplus), (rows or b, d // layout.width)
    return call(kernel, grid, outputs, interpret=interpret, warps=layout.warps, begun=begun)(inputs, others)


def _whole_groups(inputs: Inputs, group: int, softplus: bool) -> Inputs:
    """Filled up with steps of size zero, which change no state."""
    fill = partial(jax.tree.map, partial(_filled, group=group))
    delta = _filled(inputs.delta, group, -jnp.inf if softplus else 0)
    return inputs._replace(u=fill(inputs.u), delta=delta, B=fill(inputs.B), C=fill(inputs.C), z=fill(inputs.z))


def _filled(x: jax.Array, group: int, value: float = 0) -> jax.Array:
    """Whole groups of chunks (b, l, ...)."""
    return jnp.pad(x, ((0, 0), (0, -x.shape[1] % (_CHUNK * group)), (0, 0)), constant_values=value)
