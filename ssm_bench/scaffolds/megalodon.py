"""The scaffold of Megalodon: normalization along time, mixer, and a feed-forward network with a two-hop residual."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.layers import Linear, dropout, split_key
from ssm_bench.network.parameters import Exempt
from ssm_bench.network.scaffold import Along, Scaffold, Slots


class TimestepNorm(nnx.Module):
    """Normalizes groups of channels by the mean and the variance of all positions so far."""

    def __init__(self, width: int, *, groups: int):
        """Creates scale and bias of shape (width,).

        Raises:
            ArgumentError: groups that do not divide the width.
        """
        if groups < 1 or width % groups:
            raise ArgumentError("groups", f"must divide the width {width}; got {groups}")
        self.scale = Exempt(jnp.ones(width))
        self.bias = Exempt(jnp.zeros(width))
        self.groups = groups

    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h); padding comes after all true positions."""
        return self.extend(x, self.initial_state(x.shape[0]))[0]

    def initial_state(self, batch: int) -> ops.Moments:
        """No positions."""
        zeros = jnp.zeros((batch, self.groups), self.scale[...].dtype)
        return ops.Moments(zeros[:, 0], zeros, zeros)

    def extend(self, x: Float[Array, "b k h"], state: ops.Moments) -> tuple[Float[Array, "b k h"], ops.Moments]:
        """A chunk (b, k, h) and the moments before it."""
        y, after = ops.timestep_norm(x, state)
        return (y * self.scale[...] + self.bias[...]).astype(x.dtype), after

    @property
    def state_size(self) -> int:
        """The number of positions, and two moments for each group."""
        return 1 + 2 * self.groups


class Megalodon(Scaffold):
    """y = x + mixer(TimestepNorm(x)), then x + W2 silu(W1 norm(y)): the second residual skips the mixer.

    Norms come first whatever `model.prenorm` says; `model.norm` is the second one, layer norm in the paper. The
    normalization along time sees earlier positions only, also with a bidirectional mixer.

    Source: Ma et al. 2024, "Megalodon" (arXiv 2404.08801), sections 3.2 and 3.4.
    """

    temporal = ("time_norm", "mixer")

    def __init__(self, slots: Slots, *, width: int = 0, groups: int = 1, gated: bool = False, rngs: nnx.Rngs):
        """Creates mixer, feed-forward network and norms.

        Args:
            slots: what the backbone provides.
            width: hidden width of the feed-forward network; 0: 4 d_model.
            groups: groups of channels of the normalization along time; must divide the width.
            gated: W2 (silu(W1 u) * W3 u) instead of W2 silu(W1 u).
            rngs: random keys.

        Raises:
            UserError: a negative width, or groups that do not divide the width.
        """
        if width < 0:
            raise ArgumentError("width", f"must be at least 1, or 0 for 4 d_model; got {width}")
        super().__init__(slots)
        d_model, hidden = slots.d_model, width or 4 * slots.d_model
        self.time_norm = TimestepNorm(d_model, groups=groups)
        self.mixer = slots.mixer(d_model, rngs)
        self.norm = slots.norm(d_model)
        self.expand = Linear(d_model, hidden, bias=False, variance=1 / 3, rngs=rngs)
        self.value = Linear(d_model, hidden, bias=False, variance=1 / 3, rngs=rngs) if gated else None
        self.contract = Linear(hidden, d_model, bias=False, variance=1 / 3, rngs=rngs)
        self.dropout = slots.dropout
        self.tie_dropout = slots.tie_dropout

    def block(
        self,
        x: Float[Array, "b l h"],
        along: Along,
        *,
        mask: Bool[Array, "b l"] | None,
        train: bool,
        key: PRNGKeyArray | None,
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h)."""
        mixer_key, *dropout_keys = split_key(key, 3)
        mixed = along("mixer", along("time_norm", x, None), mixer_key)
        y = x + dropout(mixed, self.dropout, dropout_keys[0], tied=self.tie_dropout)
        u = self.norm(y, mask, train=train)
        hidden = jax.nn.silu(self.expand(u))
        hidden = hidden if self.value is None else hidden * self.value(u)
        return x + dropout(self.contract(hidden), self.dropout, dropout_keys[1], tied=self.tie_dropout)
