"""Keys and values of the latest positions: what attention in step mode reads."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Recent:
    """The last `reach` positions in their order, the newest one last, or those of the present chunk."""

    def __init__(self, reach: int, chunk: int):
        """Keeps the number of positions, and the length of chunks; 0: no chunks."""
        self.reach = reach
        self.chunk = chunk

    def initial_state(self, batch: int, widths: Mapping[str, int], dtype: jnp.dtype) -> dict[str, Array]:
        """Zeros (b, reach, width) under each name, and under "seen" the number of positions (b,)."""
        past = {name: jnp.zeros((batch, self.reach, width), dtype) for name, width in widths.items()}
        return past | {"seen": jnp.zeros(batch, jnp.int32)}

    def extend(
        self, state: Mapping[str, Array], **new: Float[Array, "b k _"]
    ) -> tuple[dict[str, Float[Array, "b keys _"]], Int[Array, "k keys"], Bool[Array, "b k keys"], dict[str, Array]]:
        """Appends a chunk.

        Args:
            state: what earlier positions left behind.
            **new: (b, k, width) under each name.

        Returns:
            Old and new arrays (b, reach + k, width) under each name; how far each lies behind each new position
            (k, reach + k); whether that position sees it (b, k, reach + k); and the next state.
        """
        rows = next(iter(new.values())).shape[1]
        past = {name: jnp.concatenate([state[name].astype(t.dtype), t], 1) for name, t in new.items()}
        here = jnp.arange(rows)[:, None]
        age = self.reach + here - jnp.arange(self.reach + rows)
        # The place of a position in the stream says how far back its chunk begins, or the stream.
        place = state["seen"][:, None, None] + here
        oldest = place % self.chunk if self.chunk else jnp.minimum(place, self.reach - 1)
        kept = {name: t[:, rows:].astype(state[name].dtype) for name, t in past.items()}
        return past, age, (age >= 0) & (age <= oldest), kept | {"seen": state["seen"] + rows}
