"""The classifier that every model of the table is: encoder, blocks, pooling, head."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Float32, Int, Integer, PRNGKeyArray, Real

from ssm_bench.errors import ArgumentError, UserError, unknown_choice
from ssm_bench.network.layer_loop import alike, in_a_loop
from ssm_bench.network.layers import Linear, dropout, rows_of, split_key
from ssm_bench.network.parameters import Exempt
from ssm_bench.network.scaffold import Scaffold
from ssm_bench.ops.precision import widened

ENCODERS = ("embedding", "one_hot", "linear")
ENCODER_INITS = ("lecun_normal", "uniform", "normal")
POSITIONS = ("none", "sinusoidal", "learned")
POOLINGS = ("mean", "last", "cls")

#: Whether equal blocks are compiled as one loop. "auto" means "off": on CPUs a loop takes as long to compile
#: (docs/performance.md, "Compilation"), and on GPUs it has not been timed.
SCAN_LAYERS = ("auto", "on", "off")

#: The type of what passes between layers, by name.
PRECISIONS = {"float32": jnp.float32, "bf16": jnp.bfloat16}


class Embedding(nnx.Module):
    """Token ids to vectors: a table of normal entries."""

    def __init__(self, vocabulary: int, width: int, *, std: float = 1.0, rngs: nnx.Rngs):
        """Creates a table (vocabulary, width), kept out of weight decay by most recipes."""
        self.table = Exempt(std * jax.random.normal(rngs.params(), (vocabulary, width)))

    def __call__(self, tokens: Integer[Array, "b l"]) -> Float[Array, "b l h"]:
        """(b, l) integers -> (b, l, h)."""
        return rows_of(self.table[...], tokens.astype(jnp.int32))


class OneHot(nnx.Module):
    """A linear map of one-hot tokens, as in S5: a table with the weights and the bias of a dense layer."""

    def __init__(self, vocabulary: int, width: int, *, rngs: nnx.Rngs):
        """Creates the linear map (vocabulary, width)."""
        self.linear = Linear(vocabulary, width, rngs=rngs)

    def __call__(self, tokens: Integer[Array, "b l"]) -> Float[Array, "b l h"]:
        """(b, l) integers -> (b, l, h), without forming the one-hot vectors."""
        rows = rows_of(self.linear.kernel[...], tokens.astype(jnp.int32))
        return rows if self.linear.bias is None else rows + self.linear.bias[...]


class Numbers(nnx.Module):
    """A linear map of normalized inputs with `channels` numbers a position: gray levels, or token ids taken as such."""

    def __init__(
        self, channels: int, width: int, *, mean: float, std: float, init: str = "lecun_normal", rngs: nnx.Rngs
    ):
        """Creates the linear map (channels, width).

        Args:
            channels: numbers at each position.
            width: output width h.
            mean: subtracted from the input, in its units.
            std: divides the input, in its units.
            init: "lecun_normal" with a zero bias, or "uniform": weights and bias uniform in +-1/sqrt(channels), the
                default of PyTorch's `Linear`. With one channel and a zero bias, a norm that follows sees the same
                direction for every positive input; the random bias tells them apart. "normal": weights of standard
                deviation 1 and biases of 0.1, as in facebookresearch/mega.
            rngs: random keys.

        Raises:
            UserError: an unknown `init`.
        """
        if init not in ENCODER_INITS:
            raise unknown_choice("init", init, ENCODER_INITS)
        self.linear = Linear(channels, width, rngs=rngs)
        bound = channels**-0.5
        for parameter, deviation in ((self.linear.kernel, 1.0), (self.linear.bias, 0.1)):
            assert parameter is not None
            if init == "uniform":
                parameter[...] = jax.random.uniform(rngs.params(), parameter.shape, minval=-bound, maxval=bound)
            elif init == "normal":
                parameter[...] = deviation * jax.random.normal(rngs.params(), parameter.shape)
        self.mean = mean
        self.std = std

    def __call__(self, x: Real[Array, "b l *channels"]) -> Float[Array, "b l h"]:
        """(b, l) or (b, l, channels) -> (b, l, h)."""
        x = x[..., None] if x.ndim == 2 else x
        return self.linear((x.astype(jnp.float32) - self.mean) / self.std)


def sinusoidal_positions(length: int, width: int) -> Float32[np.ndarray, "{length} {width}"]:
    """Sine and cosine positions (length, width), float32 (Vaswani et al. 2017, section 3.5)."""
    frequencies = np.exp(-np.log(10_000.0) * np.arange(0, width, 2) / width)
    angles = np.arange(length)[:, None] * frequencies
    return np.stack([np.sin(angles), np.cos(angles)], -1).reshape(length, -1)[:, :width].astype(np.float32)


def _prepended(vectors: Array, x: Array) -> Array:
    """x (b, l, h) with the same vectors (k, h) before every sequence: (b, k + l, h)."""
    return jnp.concatenate([jnp.broadcast_to(vectors, (x.shape[0], *vectors.shape)), x], 1)


class Classifier(nnx.Module):
    """encoder -> positions -> blocks -> final norm -> pooling -> head.

    With a context, learned vectors pass the blocks in front of every sequence, as true positions of it, and are left
    out of what follows. With a window of w positions, the sequence is cut into pieces of w positions after the
    positional encoding, the blocks read each piece by itself, and pooling averages over all of them: whatever the mixer
    and the depth, what is averaged depends on w positions at most. With two documents an example both pass the same
    tower, and the head sees [x1, x2, x1 - x2, x1 * x2].
    """

    def __init__(
        self,
        *,
        encoder: nnx.Module,
        block: Callable[[int, nnx.Rngs], Scaffold],
        layers: int,
        d_model: int,
        classes: int,
        documents: int = 1,
        max_length: int = 0,
        positions: str = "none",
        final_norm: nnx.Module | None = None,
        pooling: str = "mean",
        context: int = 0,
        window: int = 0,
        head_width: int = 0,
        input_dropout: float = 0.0,
        mask_padding: bool = True,
        precision: str = "float32",
        scan_layers: str = "auto",
        rngs: nnx.Rngs,
    ):
        """Creates the parts.

        Args:
            encoder: maps (b, l) integers to (b, l, h).
            block: makes block number i, from 0.
            layers: number of blocks, at least 1.
            d_model: width h.
            classes: number of classes c.
            documents: documents an example, 1 or 2.
            max_length: longest input, for learned and sinusoidal positions.
            positions: one of POSITIONS.
            final_norm: norm before pooling, or None.
            pooling: one of POOLINGS; "mean" and "last" look at true positions only.
            context: learned vectors p in front of the sequence and its class token; 0: none. They stand for no
                position, and pooling does not see them.
            window: positions w that the blocks see at once; 0: all. It needs mean pooling and no context.
            head_width: hidden width of the head; 0: linear (one document) or h (two documents).
            input_dropout: rate on what enters the first block, in [0, 1).
            mask_padding: True: padding reaches nothing. False: only pooling knows the lengths, as in the
                authors' code of S5; padded positions are then part of the scans and of batch statistics.
            precision: type of the activations, one of PRECISIONS. With "bf16" parameters, states, statistics, pooling
                and head stay float32.
            scan_layers: whether a compiled program runs equal blocks as one loop, one of SCAN_LAYERS.
            rngs: random keys.

        Raises:
            UserError: an unknown choice, or a window with another pooling or with a context.
        """
        if window and (pooling != "mean" or context):
            raise ArgumentError(
                "window",
                "needs pooling 'mean' and context 0, since pieces share nothing but their mean; "
                f"got window {window}, pooling {pooling!r} and context {context}",
            )
        if positions not in POSITIONS:
            raise unknown_choice("positions", positions, POSITIONS)
        if pooling not in POOLINGS:
            raise unknown_choice("pooling", pooling, POOLINGS)
        if precision not in PRECISIONS:
            raise unknown_choice("precision", precision, PRECISIONS)
        if scan_layers not in SCAN_LAYERS:
            raise unknown_choice("scan_layers", scan_layers, SCAN_LAYERS)
        self.encoder = encoder
        rows = max_length + (pooling == "cls")
        table = 0.02 * jax.random.normal(rngs.params(), (rows, d_model)) if positions == "learned" else None
        self.learned_positions = None if table is None else Exempt(table)
        self.sinusoids = rows if positions == "sinusoidal" else 0
        self.cls = Exempt(0.02 * jax.random.normal(rngs.params(), (d_model,))) if pooling == "cls" else None
        vectors = jax.random.normal(rngs.params(), (context, d_model)) if context else None
        self.context = None if vectors is None else Exempt(vectors)
        self.blocks = nnx.List([block(i, rngs) for i in range(layers)])
        self.final_norm = final_norm
        features = d_model if documents == 1 else 4 * d_model
        hidden = head_width or (0 if documents == 1 else d_model)
        self.head_hidden = Linear(features, hidden, rngs=rngs) if hidden else None
        self.head = Linear(hidden or features, classes, rngs=rngs)
        self.d_model = d_model
        self.pooling = pooling
        self.window = window
        self.documents = documents
        self.input_dropout = input_dropout
        self.mask_padding = mask_padding
        self.activations = PRECISIONS[precision]
        self.scan_layers = scan_layers

    def __call__(
        self,
        inputs: Real[Array, "b documents l *channels"],
        lengths: Int[Array, "b documents"] | None = None,
        *,
        train: bool = False,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "b c"]:
        """Classifies a batch.

        Args:
            inputs: (b, documents, l) token ids or gray levels.
            lengths: (b, documents) true lengths, or None where every position is true.
            train: batch norm uses and updates batch statistics.
            key: random key for dropout, None: no dropout.

        Returns:
            Logits (b, c).

        Raises:
            UserError: inputs of another rank or number of documents, or longer than a table of positions.
        """
        if inputs.ndim < 3 or inputs.shape[1] != self.documents:
            raise UserError(
                f"the classifier takes inputs (batch, documents, length) with documents {self.documents}; "
                f"got the shape {inputs.shape}"
            )
        batch = inputs.shape[0]
        # All first documents, then all second ones, pass the tower as one batch.
        inputs = jnp.swapaxes(inputs, 0, 1).reshape(batch * self.documents, *inputs.shape[2:])
        lengths = None if lengths is None else jnp.swapaxes(lengths, 0, 1).reshape(-1)
        x = self.encode(inputs, lengths, train=train, key=key)
        if self.documents == 2:
            first, second = jnp.split(x, 2)
            x = jnp.concatenate([first, second, first - second, first * second], -1)
        return self._classified(x)

    def _classified(self, features: Array) -> Array:
        if self.head_hidden is not None:
            features = jax.nn.gelu(self.head_hidden(features))
        return self.head(features)

    def encode(
        self,
        inputs: Real[Array, "b l *channels"],
        lengths: Int[Array, " b"] | None = None,
        *,
        train: bool = False,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "b h"]:
        """The pooled features (b, h) of single documents: inputs (b, l), lengths (b,) or None."""
        x = self.features(inputs, lengths, train=train, key=key)
        if self.cls is not None:
            lengths = None if lengths is None else lengths + 1
        true = None if lengths is None else jnp.arange(x.shape[1]) < lengths[:, None]
        return self._pooled(x, lengths, true)

    def features(
        self,
        inputs: Real[Array, "b l *channels"],
        lengths: Int[Array, " b"] | None = None,
        *,
        hidden: tuple[Bool[Array, "b l"], Float[Array, " h"]] | None = None,
        train: bool = False,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "b positions h"]:
        """The features of every position of single documents, before pooling.

        Args:
            inputs: (b, l) token ids or gray levels.
            lengths: (b,) true lengths, or None where every position is true.
            hidden: positions (b, l) whose input is replaced, and the vector (h,) in its place; None: none.
            train: batch norm uses and updates batch statistics.
            key: random key for dropout, None: no dropout.

        Returns:
            (b, l, h) float32, with a class token (b, 1 + l, h).
        """
        x = self.entered(inputs, hidden)
        batch, length = inputs.shape[0], inputs.shape[1] + (self.cls is not None)
        front = 0 if self.context is None else self.context.shape[0]
        if self.cls is not None:
            lengths = None if lengths is None else lengths + 1
        true = None if lengths is None else jnp.arange(length) < lengths[:, None]
        mask = seen = true if self.mask_padding else None
        if self.context is not None:
            seen = None if mask is None else jnp.pad(mask, ((0, 0), (front, 0)), constant_values=True)
        if self.window and (mask is not None or length % self.window):
            seen = self._cut(jnp.ones((batch, length), bool) if mask is None else mask)
        input_key, *block_keys = split_key(key, 1 + len(self.blocks))
        x = dropout(x, self.input_dropout, input_key)
        x = self._through_blocks(x, seen, block_keys, train=train)[:, front:]
        if self.window:
            x = x.reshape(batch, -1, self.d_model)[:, :length]
        if self.final_norm is not None:
            x = self.final_norm(x, mask, train=train)
        return widened(x)

    def entered(
        self, inputs: Real[Array, "b l *channels"], hidden: tuple[Bool[Array, "b l"], Float[Array, " h"]] | None = None
    ) -> Float[Array, "pieces positions h"]:
        """What the first block reads, before dropout: (b, l) -> (b, context + l, h), one more with a class token.

        With a window w: the pieces (b n, w, h), where the last of the n pieces of a sequence is padded.
        """
        x = self.encoder(inputs)
        if hidden is not None:
            positions, vector = hidden
            x = jnp.where(positions[..., None], vector.astype(x.dtype), x)
        if self.cls is not None:
            x = _prepended(self.cls[...][None], x)
        x = self._cut(self._with_positions(x).astype(self.activations))
        return x if self.context is None else _prepended(self.context[...].astype(x.dtype), x)

    def _cut(self, x: Array) -> Array:
        """Sequences (b, l, ...) as pieces (b n, w, ...) of the window, the last ones padded with zeros."""
        if not self.window:
            return x
        padded = jnp.pad(x, [(0, 0), (0, -x.shape[1] % self.window), *[(0, 0)] * (x.ndim - 2)])
        return padded.reshape(-1, self.window, *x.shape[2:])

    def _through_blocks(self, x: Array, mask: Array | None, keys: list[Array | None], *, train: bool) -> Array:
        # Outside of a compiled program a loop would be compiled at every call.
        loops = self.scan_layers == "on" and isinstance(x, Tracer)
        runs = alike(list(self.blocks)) if loops else [[block] for block in self.blocks]
        done = 0
        for blocks in runs:
            of_these, done = keys[done : done + len(blocks)], done + len(blocks)
            if len(blocks) > 1:
                x = in_a_loop(blocks, x, mask, of_these, train=train)
            else:
                x = blocks[0](x, mask, train=train, key=of_these[0])
        return x

    def _with_positions(self, x: Array, begin: Array | int = 0) -> Array:
        """Adds to x (b, k, h), whose first position is number `begin`, the table of positions if there is one."""
        if self.learned_positions is not None:
            table = self.learned_positions[...]
        elif self.sinusoids:
            table = jnp.asarray(sinusoidal_positions(self.sinusoids, x.shape[-1]))
        else:
            return x
        # A slice past the end would silently be another one; where `begin` is traced, the end alone is not known.
        end = x.shape[1] + (0 if isinstance(begin, Tracer) else int(begin))
        if end > len(table):
            raise UserError(f"the model has a table of {len(table)} positions; the inputs reach position {end}")
        return x + jax.lax.dynamic_slice_in_dim(table, begin, x.shape[1])

    def _pooled(self, x: Array, lengths: Array | None, true: Array | None) -> Array:
        if self.pooling == "cls":
            return x[:, 0]
        if self.pooling == "last":
            last = -1 if lengths is None else lengths - 1
            return x[jnp.arange(x.shape[0]), last]
        if true is None or lengths is None:
            return x.mean(1)
        return jnp.where(true[..., None], x, 0.0).sum(1) / lengths[:, None]

    def initial_state(self, batch: int) -> dict[str, Any]:
        """What a causal model remembers before the first position of a stream: states of blocks, pooling, position.

        Raises:
            TypeError: a mixer is not causal, or the model reads two documents, a class token, a context or a window.
        """
        if self.documents == 2 or self.pooling == "cls" or self.context is not None or self.window:
            raise TypeError("streams are for single documents with mean or last pooling, without a context or a window")
        return {
            "blocks": [block.initial_state(batch) for block in self.blocks],
            "pooled": jnp.zeros((batch, self.d_model)),
            "seen": jnp.zeros((), jnp.int32),
        }

    def extend(
        self, inputs: Real[Array, "b k *channels"], state: dict[str, Any]
    ) -> tuple[Float[Array, "b c"], dict[str, Any]]:
        """Reads the next positions of a stream.

        Args:
            inputs: (b, k) token ids or gray levels, every one true.
            state: what the positions before left behind.

        Returns:
            Logits (b, c) of all that was read so far, as a call on the whole would give, and the next state.

        Raises:
            UserError: inputs of another rank, or none; or past the end of a table of positions. Inside `jax.jit` and
                the like it cannot be told: a chunk past the end gets the last positions of the table, silently.
        """
        if inputs.ndim < 2 or not inputs.shape[1]:
            raise UserError(
                f"a stream continues with inputs (batch, length), length at least 1; got the shape {inputs.shape}"
            )
        x = self._with_positions(self.encoder(inputs), state["seen"]).astype(self.activations)
        seen = state["seen"] + x.shape[1]
        blocks = []
        for block, before in zip(self.blocks, state["blocks"], strict=True):
            x, after = block.extend(x, before)
            blocks.append(after)
        if self.final_norm is not None:
            x = self.final_norm(x, None)
        x = widened(x)
        pooled = state["pooled"] + x.sum(1) if self.pooling == "mean" else x[:, -1]
        features = pooled / seen if self.pooling == "mean" else pooled
        return self._classified(features), {"blocks": blocks, "pooled": pooled, "seen": seen}

    @property
    def state_size(self) -> int | None:
        """Real numbers that all blocks together carry per sequence; None where one has no fixed number."""
        sizes = [block.state_size for block in self.blocks]
        return None if None in sizes else sum(s for s in sizes if s is not None)
