"""The scaffold of Griffin: Hawk's blocks, with local attention in every third."""

from dataclasses import replace

from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench.errors import ArgumentError
from ssm_bench.mixers.attention import Attention
from ssm_bench.network.layers import ShortConv
from ssm_bench.network.mixer import Mixer
from ssm_bench.network.scaffold import Along, Scaffold, Slots
from ssm_bench.scaffolds.gated_mlp import GatedMLP
from ssm_bench.scaffolds.hawk import Hawk, mixer_width


class Griffin(Scaffold):
    """Two blocks of Hawk, then one in which local attention stands in place of the recurrent branch, and again.

    Attention is multi-query, over a window, with rotary positions; it looks to both sides if the mixer does.

    Source: De et al. 2024, "Griffin" (arXiv 2402.19427), sections 2.3 and 3; biases and rotary positions as in
    google-deepmind/recurrentgemma.
    """

    def __init__(
        self,
        slots: Slots,
        *,
        expand: float = 4 / 3,
        taps: int = 4,
        mlp_expand: float = 3.0,
        heads: int = 1,
        window: int = 1024,
        rngs: nnx.Rngs,
    ):
        """Creates the block.

        Args:
            slots: what the backbone hands over; its index says which kind of block this is.
            expand: as in Hawk.
            taps: as in Hawk.
            mlp_expand: as in Hawk.
            heads: heads of the attention; must divide h into multiples of 4. Published models have heads of 128
                channels or more.
            window: positions that attention sees to each side, the present one included, at least 1.
            rngs: random keys.

        Raises:
            UserError: impossible sizes.
        """
        if window < 1:
            raise ArgumentError("window", f"must be at least 1; got {window}")
        if heads < 1 or slots.d_model % (4 * heads):
            raise ArgumentError("heads", f"must divide the width {slots.d_model} into multiples of 4; got {heads}")
        super().__init__(slots)
        if slots.index % 3 < 2:
            self.inner = Hawk(slots, expand=expand, taps=taps, mlp_expand=mlp_expand, rngs=rngs)
            return

        def attention(width: int, rngs: nnx.Rngs) -> Attention:
            mixer = Attention(
                width,
                heads=heads,
                kv_heads=1,
                window=window,
                rotary=True,
                output_bias=True,
                # Made only to be asked which way it looks, as wide as in the other blocks.
                bidirectional=not slots.mixer(mixer_width(width, expand), rngs).causal,
                rngs=rngs,
            )
            mixer.out.kernel[...] = mixer.out.kernel[...] * (2 / slots.layers) ** 0.5
            return mixer

        self.inner = GatedMLP(replace(slots, mixer=attention), mlp_expand=mlp_expand, rngs=rngs)

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
        return self.inner.block(x, along, mask=mask, train=train, key=key)

    @property
    def temporal(self) -> tuple[str, ...]:
        """Those of the block inside."""
        return self.inner.temporal

    @property
    def mixer(self) -> Mixer:
        """The mixer of the block inside."""
        return self.inner.mixer

    @property
    def conv(self) -> ShortConv | None:
        """The convolution of the block inside; attention has none."""
        return self.inner.conv if isinstance(self.inner, Hawk) else None
