"""Block-sparse attention: the first and the last block, neighboring blocks, and a few at random."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ssm_bench.ops.attention import attention


def block_sparse_attention(
    q: Float[Array, "b l n d"],
    k: Float[Array, "b l n d"],
    v: Float[Array, "b l n d"],
    *,
    block: int,
    random_blocks: int,
    seed: int,
    lengths: Int[Array, " b"] | None = None,
) -> Float[Array, "b l n d"]:
    """Softmax attention in which a block of queries sees the keys of a few blocks, each once.

    These are the first block and the last, its neighbors and itself, and `random_blocks` of all others, drawn for each
    head. Queries of the first and of the last block see every key. The last block is the last one with a true
    position, and random ones are drawn from those before it (`choose_random_blocks`): what an example sees depends on
    its own length, never on that of its padding.

    Args:
        q: queries (b, l, n, d).
        k: keys (b, l, n, d).
        v: values (b, l, n, d).
        block: positions in a block, at least 1.
        random_blocks: blocks drawn for each block of queries, at least 0; fewer where there are not as many others.
        seed: of the draws, at least 0.
        lengths: true lengths (b,), or None; padded keys get no weight.

    Returns:
        (b, l, n, d) in the type of q; the values at padded positions mean nothing. Cost O(b l block (5 + random_blocks)
        n d), and in the gradient O(b l (l / block) random_blocks n d).

    Raises:
        ValueError: a block without positions, or a negative number of random ones.

    Source: Zaheer et al. 2020, "Big Bird" (arXiv 2007.14062), section 2: internal transformer construction, with one
    global block at each end and a window of three.
    """
    if block < 1 or random_blocks < 0:
        raise ValueError(f"block must be at least 1 and random_blocks at least 0, got {block} and {random_blocks}")
    batch, length, heads, size = q.shape
    # One block that is longer than the sequence sees the same.
    block = min(block, length)
    blocks = -(-length // block)
    # Where all examples are as long, one pattern serves them all.
    lengths = None if lengths is None else lengths.astype(jnp.int32)
    limit = jnp.full(1, length) if lengths is None else lengths
    last = jnp.maximum(limit - 1, 0) // block
    chosen, drawn = choose_random_blocks(last, blocks, heads=heads, number=random_blocks, seed=seed)

    def cut(x: Array) -> Array:
        x = jnp.pad(x, ((0, 0), (0, blocks * block - length), (0, 0), (0, 0)))
        return x.reshape(batch, blocks, block, heads, size)

    def ends(x: Array) -> Array:
        """The first block and the last, (b, 2, block, n, d)."""
        return jnp.concatenate([x[:, :1], jnp.take_along_axis(x, last[:, None, None, None, None], axis=1)], axis=1)

    def seen(x: Array) -> Array:
        """For every block of queries the blocks that it sees, (b blocks, (5 + random) block, n, d)."""
        around = jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
        neighbors = [around[:, offset : offset + blocks] for offset in range(3)]
        randoms = _blocks_of(x, chosen).reshape(batch, blocks, -1, heads, size)
        everywhere = ends(x).reshape(batch, 1, 2 * block, heads, size)
        everywhere = jnp.broadcast_to(everywhere, (batch, blocks, *everywhere.shape[2:]))
        return jnp.concatenate([everywhere, *neighbors, randoms], axis=2).reshape(batch * blocks, -1, heads, size)

    # Only the last block can have padding, and only a block at an end could be seen twice.
    at, position = jnp.arange(blocks), jnp.arange(block)
    first_exists = position < limit[:, None]
    last_exists = (last > 0)[:, None] & (last[:, None] * block + position < limit[:, None])
    at_ends = jnp.concatenate([first_exists, last_exists], -1)[:, None, None]  # (b, 1, 1, keys)
    neighbors = at[:, None] + jnp.arange(-1, 2)
    neighbors = ((neighbors > 0) & (neighbors < last[:, None, None]))[:, None]  # (b, 1, blocks, 3)
    parts = [jnp.repeat(part, block, axis=-1) for part in (neighbors, drawn)]
    shape = (batch, heads, blocks)
    mask = jnp.concatenate([jnp.broadcast_to(part, (*shape, part.shape[-1])) for part in (at_ends, *parts)], -1)
    mask = jnp.swapaxes(mask, 1, 2).reshape(batch * blocks, heads, 1, -1)

    q = cut(q)
    y = jax.nn.dot_product_attention(q.reshape(-1, block, heads, size), seen(cut(k)), seen(cut(v)), mask=mask)
    full = attention(ends(q).reshape(batch, 2 * block, heads, size), k, v, lengths=lengths)
    full = full.reshape(batch, 2, block, heads, size)
    number = at[:, None, None, None]
    y = jnp.where(number == last[:, None, None, None, None], full[:, 1:], y.reshape(q.shape))
    y = jnp.where(number == 0, full[:, :1], y)
    return y.reshape(batch, blocks * block, heads, size)[:, :length]


def choose_random_blocks(
    last: Int[Array, " b"], blocks: int, *, heads: int, number: int, seed: int
) -> tuple[Int[Array, "b {heads} {blocks} r"], Bool[Array, "b {heads} {blocks} r"]]:
    """Blocks drawn without replacement among those that are neither at an end nor within one block of the queries.

    Every block of queries has a fixed preference among all blocks, and takes the first that there are. Preferences do
    not change when more blocks are added: examples of one length get the same draws whatever they are padded to.

    Args:
        last: number of the last block (b,), integers from 0.
        blocks: blocks with padding.
        heads: n, each with draws of its own.
        number: blocks to draw.
        seed: of the draws.

    Returns:
        The blocks (b, n, blocks, r), integers, where r is `number` or `blocks` if that is less; and whether each is one
        that there is, bool.
    """
    query, key = np.ogrid[:blocks, :blocks]
    apart = (np.abs(query - key) > 1) & (key > 0)
    free = apart & (jnp.arange(blocks) < last[:, None, None])
    preference = jnp.where(free[:, None], _preferences(blocks, heads, seed), -1.0)
    best, chosen = jax.lax.top_k(preference, min(number, blocks))
    return chosen, best >= 0


@jax.custom_vjp
def _blocks_of(x: Array, chosen: Array) -> Array:
    """The blocks (b, blocks r, w, n, d) of x (b, blocks, w, n, d) that `chosen` (b or 1, n, blocks, r) names.

    Its gradient is a product with one-hot vectors. As a scatter it would be additions to a few blocks in any order: on
    GPUs other bits each time.
    """
    rows = jnp.moveaxis(chosen, 1, 3).reshape(len(chosen), -1, 1, chosen.shape[1], 1)
    return jnp.take_along_axis(x, rows, axis=1)


def _blocks_backward(chosen: Array, gradient: Array) -> tuple[Array, None]:
    batch, _, block, heads, size = gradient.shape
    blocks, number = chosen.shape[2:]
    hot = jax.nn.one_hot(chosen, blocks, dtype=gradient.dtype)
    hot = jnp.broadcast_to(hot, (batch, *hot.shape[1:]))
    gradient = gradient.reshape(batch, blocks, number, block, heads, size)
    return jnp.einsum("bnirj,birwnd->bjwnd", hot, gradient, precision="highest"), None


_blocks_of.defvjp(lambda x, chosen: (_blocks_of(x, chosen), chosen), _blocks_backward)


@cache
def _preferences(blocks: int, heads: int, seed: int) -> np.ndarray:
    """How much a block of queries wants each block, uniform in [0, 1): float32 (n, blocks, blocks).

    A block of queries has a stream of random numbers of its own, of which fewer blocks take the beginning.
    """
    rows = [np.random.default_rng((seed, row)).random((blocks, heads)) for row in range(blocks)]
    return np.stack(rows).transpose(2, 0, 1).astype(np.float32)
