"""The real-gated linear recurrent unit (RG-LRU) of Hawk and Griffin."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ssm_bench.ops.backends import FastPath, choose_backend
from ssm_bench.ops.precision import MAX_ROOT_DERIVATIVE
from ssm_bench.ops.recurrence import linear_recurrence
from ssm_bench.ops.sharding import per_device, sequence_devices


def rg_lru(
    x: Float[Array, "b l h"],
    gate_x: Float[Array, "b l h"],
    gate_a: Float[Array, "b l h"],
    a_param: Float[Array, " h"],
    *,
    c: float = 8.0,
    h0: Float[Array, "b h"] | None = None,
    fresh: Bool[Array, " b"] | None = None,
    return_last_state: bool = False,
    backend: str = "auto",
) -> Float[Array, "b l h"] | tuple[Float[Array, "b l h"], Float[Array, "b h"]]:
    """h_t = a_t h_{t-1} + sqrt(1 - a_t^2) sigmoid(gate_x_t) x_t, with log a_t = -c softplus(a_param) sigmoid(gate_a_t).

    Without a state before it, the first input is not scaled by the square root: h_1 = sigmoid(gate_x_1) x_1. A state
    of zeros is a state, so sequences in pieces pass h0 from the second piece on, or h0 at all times with `fresh` for
    the first. Gates, decay and state are float32 or better.

    Args:
        x: inputs (b, l, h), real, l at least 1.
        gate_x: input gate before its sigmoid (b, l, h).
        gate_a: recurrence gate before its sigmoid (b, l, h).
        a_param: (h,); softplus of it is the decay rate over c of an open gate.
        c: how strongly the gate acts on the decay, positive.
        h0: the state before the first step (b, h); None stands for none.
        fresh: (b,) bool, True for sequences that begin here: their h0 counts as none. None: all continue from h0.
        return_last_state: also return the state after the last step.
        backend: see `linear_recurrence`; "fused" makes the gates in the kernel too, and is what "auto" takes on NVIDIA
            GPUs.

    Returns:
        h (b, l, h) in the type of x, and with `return_last_state` the last state (b, h). Cost O(b l h).

    Raises:
        UserError: an unknown backend, or "fused" where it cannot run.
        ValueError: ranks, shapes or types that do not fit.

    Differentiable in reverse mode. The derivative of the square root is at most 1000.
    Source: Griffin (De et al. 2024, arXiv 2402.19427), section 2.4 and appendix A; the first step and the bounded
    derivative as published with RecurrentGemma.
    """
    _check_shapes(x, gate_x, gate_a, a_param, h0, fresh)
    dtype = jnp.result_type(jnp.float32, x, a_param)
    types = {array.dtype.name for array in (x, gate_x, gate_a)}
    path = FastPath(
        operation="rg_lru",
        needs="a float32 state from float32 or bfloat16 inputs",
        given=f"{dtype.name} from {' and '.join(sorted(types))}",
        fits=dtype == jnp.float32 and types <= {"float32", "bfloat16"},
        # A warp is too wide for channels that come in ones and twos; the kernel reads whole sequences.
        worth=x.shape[2] % 8 == 0 and sequence_devices() == 1,
    )
    backend = choose_backend(backend, path)
    if backend == "fused":
        y, last = _fused(x, gate_x, gate_a, a_param, c, h0, fresh)
        return (y, last) if return_last_state else y
    gate_x, gate_a = jax.nn.sigmoid(gate_x.astype(dtype)), jax.nn.sigmoid(gate_a.astype(dtype))
    log_a = -c * jax.nn.softplus(a_param.astype(dtype)) * gate_a
    gain = _root(-jnp.expm1(2 * log_a))
    if h0 is None:
        gain = gain.at[:, 0].set(1)
    elif fresh is not None:
        gain = gain.at[:, 0].set(jnp.where(fresh[:, None], 1, gain[:, 0]))
        h0 = jnp.where(fresh[:, None], 0, h0)
    h = linear_recurrence(jnp.exp(log_a), gain * gate_x * x, h0=h0, backend=backend)
    y = h.astype(x.dtype)
    return (y, h[:, -1]) if return_last_state else y


# Traced once for all layers of a size.
@partial(jax.jit, static_argnames=("c", "interpret"))
def _fused(x, gate_x, gate_a, a_param, c, h0, fresh, *, interpret=False):
    """The states in the type of x and the last one, from the kernel."""
    from ssm_bench.ops.kernels.rg_lru import fused_rg_lru

    rate = c * jax.nn.softplus(a_param.astype(jnp.float32))
    if h0 is None:
        h0, fresh = jnp.zeros_like(x[:, 0], jnp.float32), jnp.ones(len(x), bool)
    elif fresh is None:
        fresh = jnp.zeros(len(x), bool)
    h0 = jnp.where(fresh[:, None], 0, h0.astype(jnp.float32))
    states = per_device(partial(fused_rg_lru, interpret=interpret), (True, True, True, False, True, True))
    return states(x, gate_x, gate_a, rate, h0, fresh.astype(jnp.float32))


@jax.custom_jvp
def _root(x: Array) -> Array:
    """The square root, its derivative bounded."""
    return jnp.sqrt(x)


@_root.defjvp
def _root_jvp(primals, tangents):
    (x,), (tangent,) = primals, tangents
    root = jnp.sqrt(x)
    return root, tangent / jnp.maximum(2 * root, 1 / MAX_ROOT_DERIVATIVE)


def _check_shapes(x, gate_x, gate_a, a_param, h0, fresh):
    """One sentence for the first array that does not fit x (b, l, h)."""
    if x.ndim != 3 or x.shape[1] < 1 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x must be real (b, l, h) with l at least 1, got {x.dtype} of shape {x.shape}")
    expected = {"gate_x": (gate_x, x.shape), "gate_a": (gate_a, x.shape), "a_param": (a_param, x.shape[2:])}
    if h0 is not None:
        expected["h0"] = (h0, (x.shape[0], x.shape[2]))
    for name, (array, shape) in expected.items():
        if array.shape != shape or not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(f"{name} must be real {shape} to fit x {x.shape}, got {array.dtype} {array.shape}")
    if fresh is not None and (h0 is None or fresh.shape != x.shape[:1] or fresh.dtype != bool):
        raise ValueError(f"fresh must be bool {x.shape[:1]} when h0 is given, got {fresh.dtype} {fresh.shape}")
