"""The linear recurrence as one kernel for NVIDIA GPUs: each state is read and written once and kept in a register.

The other backends of `linear_recurrence` compute the same everywhere.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from ssm_bench.ops.gpu import call

# Steps whose inputs are loaded together: memory is far away, so many loads must be under way.
_CHUNK = 16

# Channels of one program, one warp wide.
_WIDTH = 32

# Programs that fill a GPU. Where batch and channels make fewer, time is cut into segments.
_PROGRAMS = 1024


def fused_recurrence(
    a: jax.Array, b: jax.Array, log_a: jax.Array | None, *, constant: bool, reverse: bool, interpret: bool = False
) -> jax.Array:
    """h_t = a_t h_{t-1} + b_t from a zero state, along axis 1.

    Where there are too few channels to fill the GPU, time is cut into segments: a first pass finds the state that each
    would end in by itself, a short recurrence the state each begins with, and a second pass all states.

    Args:
        a: coefficients (b, l, ...), or constant ones (1, 1, ...); float32 or complex64.
        b: inputs (b, l, ...), of the same type.
        log_a: the logarithm of a constant `a`, for its exact powers; or None.
        constant: `a` is constant in time and over the batch.
        reverse: from the last step to the first.
        interpret: run without a GPU, slowly, for tests.

    Returns:
        Every state h (b, l, ...).
    """
    shape = b.shape
    batch, length = shape[:2]
    a, b = (x.reshape(*x.shape[:2], -1) for x in (a, b))
    width = min(_WIDTH, b.shape[2] & -b.shape[2])
    segments = _segments(batch * (b.shape[2] // width), length)
    # Whole segments; what is added comes last in the order of the recurrence.
    fill = -length % (_CHUNK * segments)
    gap = ((0, 0), (fill, 0) if reverse else (0, fill), (0, 0))
    b = jnp.pad(b, gap)
    a = a if constant else jnp.pad(a, gap)
    steps = b.shape[1] // segments
    b = b.reshape(batch * segments, steps, -1)
    a = a if constant else a.reshape(batch * segments, steps, -1)

    run = partial(_run, constant=constant, width=width, reverse=reverse, interpret=interpret)
    first = None
    if segments > 1:
        # Per segment: its last state, and the product of its coefficients.
        ends, products = (x.reshape(batch, segments, -1) for x in run(a, b, None, ends_only=True))
        if constant:
            products = a**steps if log_a is None else jnp.exp(steps * log_a.reshape(1, 1, -1))
            products = jnp.broadcast_to(products, ends.shape)
        first = _before(products, ends, reverse).reshape(batch * segments, -1)
    h = run(a, b, first, ends_only=False)[0].reshape(batch, segments * steps, -1)
    return (h[:, fill:] if reverse else h[:, :length]).reshape(shape)


def _segments(programs: int, length: int) -> int:
    """Segments of time: a power of two, each of a few chunks at least."""
    wanted = min(-(-_PROGRAMS // programs), length // (4 * _CHUNK))
    return 1 << max(wanted, 1).bit_length() - 1


def _before(products: jax.Array, ends: jax.Array, reverse: bool) -> jax.Array:
    """The state before each segment (b, segments, d), by a short scan over segments."""

    def compose(early, late):
        return late[0] * early[0], late[0] * early[1] + late[1]

    after = lax.associative_scan(compose, (products, ends), reverse=reverse, axis=1)[1]
    zero = jnp.zeros_like(after[:, :1])
    return jnp.concatenate([after[:, 1:], zero] if reverse else [zero, after[:, :-1]], axis=1)


def _run(a, b, first, *, constant, ends_only, width, reverse, interpret):
    """One pass over rows (r, l, d): all states; or the last state and the product of coefficients, (r, d) each."""
    rows, _, channels = b.shape
    is_complex = jnp.iscomplexobj(b)
    if first is None:
        first = jnp.zeros((rows, channels), b.dtype)
    inputs = [part for x in (a, b, first) for part in _parts(x)]
    shapes = [(rows, channels)] * 2 if ends_only else [b.shape]
    kernel = partial(_kernel, is_complex=is_complex, constant=constant, ends_only=ends_only, reverse=reverse)
    outputs = call(
        partial(kernel, width=width),
        (rows, channels // width),
        [shape for shape in shapes for _ in range(1 + is_complex)],
        interpret=interpret,
    )(*inputs)
    return [lax.complex(*outputs[i : i + 2]) for i in range(0, len(outputs), 2)] if is_complex else outputs


def _parts(x: jax.Array) -> list[jax.Array]:
    """Real and imaginary part of complex numbers: a kernel has real ones only."""
    return [jnp.real(x), jnp.imag(x)] if jnp.iscomplexobj(x) else [x]


def _kernel(*references, is_complex, constant, ends_only, reverse, width):
    parts = 1 + is_complex
    a, b, first, *outputs = (references[i : i + parts] for i in range(0, len(references), parts))
    row, channels = pl.program_id(0), pl.ds(pl.program_id(1) * width, width)
    length = b[0].shape[1]

    def load(refs, t):
        return [ref[row, t, channels] for ref in refs]

    fixed = [ref[0, 0, channels] for ref in a] if constant else None

    def chunk(i, carry):
        h, product = carry
        times = [i * _CHUNK + k for k in range(_CHUNK)]
        times = [length - 1 - t for t in times] if reverse else times
        # All loads first, so that they are under way together.
        loaded = [(fixed or load(a, t), load(b, t)) for t in times]
        for t, (a_t, b_t) in zip(times, loaded, strict=True):
            h = [x + y for x, y in zip(_times(a_t, h), b_t, strict=True)]
            if not ends_only:
                for ref, value in zip(outputs[0], h, strict=True):
                    ref[row, t, channels] = value
            elif not constant:
                product = _times(a_t, product)
        return h, product

    one = [jnp.ones(width, jnp.float32), jnp.zeros(width, jnp.float32)][:parts]
    start = [ref[row, channels] for ref in first]
    h, product = lax.fori_loop(0, length // _CHUNK, chunk, (start, one))
    if ends_only:
        for refs, values in zip(outputs, (h, product), strict=True):
            for ref, value in zip(refs, values, strict=True):
                ref[row, channels] = value


def _times(x: list[jax.Array], y: list[jax.Array]) -> list[jax.Array]:
    """A product of real numbers, or of complex ones as pairs."""
    if len(x) == 1:
        return [x[0] * y[0]]
    return [x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]]
