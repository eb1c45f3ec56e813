"""Small layers: linear maps, norms and dropout, with parameter types that tell the optimizer what they are.

All return the type of their input. Half-precision activations meet weights of matrix products in half precision, but
parameters with one number a channel in float32, rounding the result: a gradient of those is a sum over every position
of a batch, and a sum in bfloat16 stops growing at 256 times its terms.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Integer, PRNGKeyArray

from ssm_bench.errors import ArgumentError, unknown_choice
from ssm_bench.network.parameters import Exempt
from ssm_bench.ops.precision import widened


class Linear(nnx.Module):
    """An affine map of the last axis: LeCun-normal weights, zero bias."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True, variance: float = 1.0, rngs: nnx.Rngs):
        """Creates weights (inputs, outputs) of variance `variance / inputs` and, if asked, a bias (outputs,)."""
        init = jax.nn.initializers.variance_scaling(variance, "fan_in", "truncated_normal")
        self.kernel = nnx.Param(init(rngs.params(), (inputs, outputs)))
        self.bias = Exempt(jnp.zeros(outputs)) if bias else None

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        """(..., inputs) -> (..., outputs)."""
        y = x @ self.kernel[...].astype(x.dtype)
        return y if self.bias is None else (y + self.bias[...]).astype(x.dtype)


def side_by_side(x: Float[Array, "*batch inputs"], *maps: Linear) -> list[Float[Array, "*batch _"]]:
    """What each of the maps gives for x (..., inputs), by one matrix product.

    The same numbers as one product for each, with fewer passes over the activations: x is read once, and its gradient
    is one product too, not a sum of several.
    """
    widths = [one.kernel.shape[1] for one in maps]
    bias = [jnp.zeros(width) if one.bias is None else one.bias[...] for one, width in zip(maps, widths, strict=True)]
    y = x @ jnp.concatenate([one.kernel[...] for one in maps], axis=-1).astype(x.dtype)
    y = (y + jnp.concatenate(bias)).astype(x.dtype)
    # Slices, not `jnp.split`: the compiler puts their gradients together in the kernel that makes them, where it would
    # write those of a split twice.
    return [y[..., end - width : end] for end, width in zip(np.cumsum(widths), widths, strict=True)]


#: No layer is wider: what is meant as a factor of the width is sometimes given as a width.
WIDEST = 2**24


def expanded(width: int, expand: float, argument: str) -> int:
    """`expand` times a width, rounded.

    Raises:
        ArgumentError: not between 1 and WIDEST; the message names the argument.
    """
    if not (0 < expand <= WIDEST and 1 <= round(expand * width) <= WIDEST):
        raise ArgumentError(argument, f"times the width {width} must be a width of 1 to {WIDEST}; got {expand}")
    return round(expand * width)


class GEGLU(nnx.Module):
    """The gated MLP W3 (gelu(W1 x) * W2 x), with biases (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, width: int, expand: float, *, variance: float = 1.0, rngs: nnx.Rngs):
        """Creates W1, W2 (width, hidden) and W3 (hidden, width) of variance `variance / hidden`.

        Raises:
            UserError: no such width, as `expanded`.
        """
        hidden = expanded(width, expand, "mlp_expand")
        self.gate = Linear(width, hidden, rngs=rngs)
        self.value = Linear(width, hidden, rngs=rngs)
        self.out = Linear(hidden, width, variance=variance, rngs=rngs)

    def __call__(self, x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
        """(..., width) -> (..., width)."""
        return self.out(jax.nn.gelu(self.gate(x)) * self.value(x))


#: Taps of a short convolution are a sum with one term each, which is compiled as such.
MOST_TAPS = 256


class ShortConv(nnx.Module):
    """A convolution over a few neighbors, for each channel alone: y_t = bias + sum over k of w_k x_{t-k}.

    With `causal=False` the taps are centered: half of them, rounded down, look ahead.
    """

    def __init__(self, width: int, taps: int = 4, *, bias: bool = True, causal: bool = True, rngs: nnx.Rngs):
        """Creates weights (taps, width), the newest position last, uniform in +-1/sqrt(taps), and a zero bias.

        Raises:
            ArgumentError: no tap, or more than MOST_TAPS.
        """
        if not 1 <= taps <= MOST_TAPS:
            raise ArgumentError("taps", f"of a short convolution must lie in 1..{MOST_TAPS}; got {taps}")
        bound = taps**-0.5
        self.kernel = nnx.Param(jax.random.uniform(rngs.params(), (taps, width), minval=-bound, maxval=bound))
        self.bias = Exempt(jnp.zeros(width)) if bias else None
        self.ahead = 0 if causal else taps // 2

    def __call__(
        self, x: Float[Array, "b l w"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l w"]:
        """(b, l, w) -> (b, l, w), with zeros before the first and after the last position."""
        return self._slide(x, self.kernel.shape[0] - 1 - self.ahead, self.ahead).astype(x.dtype)

    @property
    def divides_time(self) -> bool:
        """True: devices exchange the neighbors of their first and last positions."""
        return True

    def _slide(self, x: Array, before: int, after: int) -> Array:
        kernel = self.kernel[...]
        length = x.shape[1] + before + after - (len(kernel) - 1)
        x = jnp.pad(x, ((0, 0), (before, after), (0, 0)))
        y = sum((kernel[k] * x[:, k : k + length] for k in range(len(kernel))), start=jnp.zeros((), x.dtype))
        return y if self.bias is None else y + self.bias[...]

    def initial_state(self, batch: int) -> Float[Array, "{batch} before w"]:
        """The inputs before the first step: zeros (b, taps - 1, w).

        Raises:
            TypeError: it looks ahead.
        """
        if self.ahead:
            raise TypeError("a centered convolution has no step mode: it is not causal")
        taps, width = self.kernel.shape
        return jnp.zeros((batch, taps - 1, width), self.kernel[...].dtype)

    def extend(
        self, x: Float[Array, "b k w"], state: Float[Array, "b before w"]
    ) -> tuple[Float[Array, "b k w"], Float[Array, "b before w"]]:
        """A chunk (b, k, w) and the inputs before it."""
        read = jnp.concatenate([state, x], axis=1)
        return self._slide(read, 0, 0).astype(x.dtype), read[:, x.shape[1] :]

    @property
    def state_size(self) -> int:
        """Real numbers carried per sequence: the inputs that a later output still needs."""
        return (self.kernel.shape[0] - 1) * self.kernel.shape[1]


class BatchNorm(nnx.Module):
    """Batch normalization over batch and length (Ioffe and Szegedy 2015), padding left out where a mask says so.

    `decay` is the share of the old running statistics that an update keeps (Flax's convention; PyTorch's
    momentum is 1 - decay). The running variance is the biased one.
    """

    def __init__(self, width: int, *, decay: float = 0.9, epsilon: float = 1e-5, masked: bool = True):
        """Creates scale, bias and running statistics of shape (width,); `masked=False` counts padding in."""
        self.scale = Exempt(jnp.ones(width))
        self.bias = Exempt(jnp.zeros(width))
        self.mean = nnx.BatchStat(jnp.zeros(width))
        self.var = nnx.BatchStat(jnp.ones(width))
        self.decay = decay
        self.epsilon = epsilon
        self.masked = masked

    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, train: bool = False
    ) -> Float[Array, "b l h"]:
        """Normalizes x (b, l, h); in training by the batch's own statistics, which also move the running ones."""
        wide = widened(x)
        if train:
            counted = jnp.ones((1, 1, 1), bool) if mask is None or not self.masked else mask[..., None]
            count = jnp.maximum(jnp.broadcast_to(counted, (*x.shape[:2], 1)).sum(), 1)
            mean = wide.sum((0, 1), where=counted) / count
            # The mean is where this is least: no gradient goes through it, and one pass over x less is needed.
            var = jnp.square(wide - jax.lax.stop_gradient(mean)).sum((0, 1), where=counted) / count
            self.mean[...] = self.decay * self.mean[...] + (1 - self.decay) * jax.lax.stop_gradient(mean)
            self.var[...] = self.decay * self.var[...] + (1 - self.decay) * jax.lax.stop_gradient(var)
        else:
            mean, var = self.mean[...], self.var[...]
        y = (wide - mean) * (jax.lax.rsqrt(var + self.epsilon) * self.scale[...]) + self.bias[...]
        return y.astype(x.dtype)


class LayerNorm(nnx.Module):
    """Layer normalization over the width (Ba et al. 2016)."""

    def __init__(self, width: int, *, epsilon: float = 1e-5):
        """Creates scale and bias of shape (width,)."""
        self.scale = Exempt(jnp.ones(width))
        self.bias = Exempt(jnp.zeros(width))
        self.epsilon = epsilon

    def __call__(
        self, x: Float[Array, "b l *heads h"], mask: Bool[Array, "b l"] | None = None, *, train: bool = False
    ) -> Float[Array, "b l *heads h"]:
        """Normalizes each position of x (b, l, h) by itself; mask and train change nothing."""
        wide = widened(x)
        centered = wide - wide.mean(-1, keepdims=True)
        scale = jax.lax.rsqrt(jnp.square(centered).mean(-1, keepdims=True) + self.epsilon)
        return (centered * scale * self.scale[...] + self.bias[...]).astype(x.dtype)


class RMSNorm(nnx.Module):
    """Root-mean-square normalization over the width (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, *, epsilon: float = 1e-6):
        """Creates a scale of shape (width,)."""
        self.scale = Exempt(jnp.ones(width))
        self.epsilon = epsilon

    def __call__(
        self, x: Float[Array, "b l *heads h"], mask: Bool[Array, "b l"] | None = None, *, train: bool = False
    ) -> Float[Array, "b l *heads h"]:
        """Normalizes each position of x (b, l, h) by itself; mask and train change nothing."""
        wide = widened(x)
        y = wide * jax.lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + self.epsilon) * self.scale[...]
        return y.astype(x.dtype)


class ScaleNorm(nnx.Module):
    """Root-mean-square normalization over the width with one learned scale (Nguyen and Salazar 2019)."""

    def __init__(self, *, epsilon: float = 1e-5):
        """Creates a scale of shape (1,)."""
        self.scale = Exempt(jnp.ones(1))
        self.epsilon = epsilon

    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, train: bool = False
    ) -> Float[Array, "b l h"]:
        """Normalizes each position of x (b, l, h) by itself; mask and train change nothing."""
        wide = widened(x)
        y = wide * jax.lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + self.epsilon) * self.scale[...]
        return y.astype(x.dtype)


def make_norm(
    kind: str, width: int, *, decay: float = 0.9, masked: bool = True
) -> BatchNorm | LayerNorm | RMSNorm | ScaleNorm:
    """A norm by its name: "batch", "layer", "rms" or "scale"; `decay` and `masked` are for batch norm.

    Raises:
        UserError: another name.
    """
    if kind == "batch":
        return BatchNorm(width, decay=decay, masked=masked)
    if kind == "layer":
        return LayerNorm(width)
    if kind == "rms":
        return RMSNorm(width)
    if kind == "scale":
        return ScaleNorm()
    raise unknown_choice("norm", kind, ("batch", "layer", "rms", "scale"))


def dropout(
    x: Float[Array, "b l h"], rate: float, key: PRNGKeyArray | None, *, tied: bool = False
) -> Float[Array, "b l h"]:
    """Zeroes values of x (b, l, h) with probability `rate` in [0, 1) and scales up the rest.

    Args:
        x: values.
        rate: probability.
        key: random key; None: no dropout.
        tied: one mask for all positions of a sequence.
    """
    if key is None or rate == 0.0:
        return x
    shape = (x.shape[0], 1, x.shape[2]) if tied else x.shape
    keep = jax.random.bernoulli(key, 1.0 - rate, shape)
    # In bfloat16 the scale itself would be off, the same way at every position.
    return jnp.where(keep, (widened(x) / (1.0 - rate)).astype(x.dtype), 0.0)


#: Up to so many rows the gradient of a table is a product.
SMALL_TABLE = 512


def rows_of(table: Float[Array, "v h"], tokens: Integer[Array, "b l"]) -> Float[Array, "b l h"]:
    """The rows (b, l, h) of a table (v, h) that tokens (b, l) name.

    The gradient of a small table is a product with one-hot vectors. As a scatter it would be additions to few places in
    any order: on GPUs slow, and other bits each time.
    """
    return _rows(table, tokens) if len(table) <= SMALL_TABLE else table[tokens]


@jax.custom_vjp
def _rows(table, tokens):
    return table[tokens]


def _rows_backward(residuals, gradient):
    table, tokens = residuals
    hot = jax.nn.one_hot(tokens, len(table), dtype=gradient.dtype)
    # A product for each sequence, since one sum over all positions is for few threads of a GPU.
    found = jnp.einsum("blv,blh->bvh", hot, gradient, precision="highest").sum(0)
    return found.astype(table.dtype), None


_rows.defvjp(lambda table, tokens: (table[tokens], (table, tokens)), _rows_backward)


@jax.custom_vjp
def kept(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x itself, written to memory once: what follows reads it, gradients too, where the compiler would recompute it.

    Worth it for a sum of several arrays that is read in several places.
    """
    return jax.lax.optimization_barrier(x)


# The barrier's own gradient would be another barrier.
kept.defvjp(lambda x: (kept(x), None), lambda _, gradient: (gradient,))


def kept_with(
    function: Callable[[Float[Array, "..."], PRNGKeyArray | None], Float[Array, "..."]],
    x: Float[Array, "..."],
    key: PRNGKeyArray | None,
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """x and function(x, key), both written to memory by one pass over what x is made of; gradients read this x."""
    return _kept_with(function, x, key)


def _both(function: Callable[..., Array], x: Array, key: PRNGKeyArray | None) -> tuple[Array, Array]:
    return jax.lax.optimization_barrier((x, function(x, key)))


def _both_forward(function, x, key):
    x, y = _both(function, x, key)
    return (x, y), (x, key)


def _both_backward(function, residuals, gradients):
    (x, key), (by_x, by_y) = residuals, gradients
    return by_x + jax.vjp(lambda x: function(x, key), x)[1](by_y)[0], None


_kept_with = jax.custom_vjp(_both, nondiff_argnums=(0,))
_kept_with.defvjp(_both_forward, _both_backward)


def split_key(key: PRNGKeyArray | None, parts: int) -> list[PRNGKeyArray | None]:
    """Splits a random key; None stays None, `parts` times."""
    return [None] * parts if key is None else list(jax.random.split(key, parts))
