"""What a reader of raw files hands over: documents as integers, and the ways to turn text into them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

PAD, UNKNOWN, END = 0, 1, 2
SPECIAL_TOKENS = ("<pad>", "<unk>", "<eos>")

_CODE_POINTS = 0x110000
_SHADES = " .:-=+*#%@"
_WIDEST_PICTURE = 64


@dataclass(frozen=True)
class Vocabulary:
    """What the integers of a corpus mean.

    Attributes:
        unit: "characters", "bytes", "words" or "pixels".
        tokens: the token of each id, id 0 being padding; empty for pixels, whose integers are gray levels 0..255.
    """

    unit: str
    tokens: tuple[str, ...] = ()

    @property
    def end(self) -> int | None:
        """The id that closes every document, or None where nothing does."""
        return END if self.tokens[:3] == SPECIAL_TOKENS else None

    @property
    def dtype(self) -> type:
        """The smallest of uint8 and uint16 that holds every id."""
        return np.uint8 if len(self.tokens) <= 256 else np.uint16

    def decode(self, ids: np.ndarray) -> str:
        """One document as text; an image as rows of shades, averaged down to at most 64 columns."""
        if self.unit == "pixels":
            return _picture(ids)
        if self.unit == "bytes":
            return bytes(int(i) - 1 for i in ids if i).decode("utf-8", "replace")
        shown = [self.tokens[i] for i in ids if i != self.end]
        return (" " if self.unit == "words" else "").join(shown)


PIXELS = Vocabulary("pixels")
BYTES = Vocabulary("bytes", ("<pad>", *(f"0x{byte:02x}" for byte in range(256))))


@dataclass(frozen=True)
class Corpus:
    """A task's examples as arrays, before any split by protocol.

    Attributes:
        values: every document one after another, uint8 or uint16.
        offsets: (n_documents + 1,) int64; document i is values[offsets[i]:offsets[i + 1]].
        documents: (n_examples, documents per example) int32, which documents make an example.
        labels: (n_examples,) int32.
        parts: how many examples each part of the source has, in the order of the examples.
        vocabulary: what the values mean.
        identity: what the data are, for people; it stands in every record made with them.
        kind: "official", "rebuilt", "generated" or "synthetic".
        source: the files or the generator they came from.
        notes: what else a reader should know, plain JSON.
    """

    values: np.ndarray
    offsets: np.ndarray
    documents: np.ndarray
    labels: np.ndarray
    parts: dict[str, int]
    vocabulary: Vocabulary
    identity: str = ""
    kind: str = ""
    source: str = ""
    notes: dict = field(default_factory=dict)

    def ranges(self) -> dict[str, np.ndarray]:
        """The example indices of each part."""
        ends = np.cumsum([0, *self.parts.values()])
        return {name: np.arange(start, stop) for name, start, stop in zip(self.parts, ends[:-1], ends[1:], strict=True)}

    def compact(self, examples: np.ndarray, max_length: int) -> "Corpus":
        """Keeps only `examples` (renumbered 0, 1, ...) and the first `max_length` tokens of their documents.

        A document that is cut ends in the end token where the vocabulary has one, as if it had been cut before
        tokenization. `parts` of the result is empty: the caller holds the splits.
        """
        used, documents = np.unique(self.documents[examples], return_inverse=True)
        lengths = np.minimum(self.offsets[used + 1] - self.offsets[used], max_length)
        cut = self.offsets[used + 1] - self.offsets[used] > max_length
        offsets = offsets_of(lengths)
        values = np.empty(offsets[-1], self.values.dtype)
        for i, (start, length) in enumerate(zip(self.offsets[used].tolist(), lengths.tolist(), strict=True)):
            values[offsets[i] : offsets[i + 1]] = self.values[start : start + length]
        if self.vocabulary.end is not None:
            values[offsets[1:][cut] - 1] = self.vocabulary.end
        return replace(
            self,
            values=values,
            offsets=offsets,
            documents=documents.reshape(-1, self.documents.shape[1]).astype(np.int32),
            labels=self.labels[examples],
            parts={},
        )


def offsets_of(lengths: Iterable[int] | np.ndarray) -> np.ndarray:
    """Where documents of these lengths begin and end when laid one after another: (n + 1,) int64."""
    lengths = np.asarray(lengths, np.int64)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def single_documents(count: int) -> np.ndarray:
    """The `documents` array of a task whose example i is document i: (count, 1) int32."""
    return np.arange(count, dtype=np.int32)[:, None]


def encode_characters(
    texts: Sequence[str], max_length: int, *, training: Sequence[bool] | np.ndarray, min_frequency: int = 1
) -> tuple[np.ndarray, np.ndarray, Vocabulary]:
    """Unicode code points with the S4 and S5 ids: 0 pad, 1 unknown, 2 end, then by falling frequency.

    Args:
        texts: the documents.
        max_length: tokens kept of each, the end token included.
        training: (n,) bool, the documents whose (already cut) characters make the vocabulary.
        min_frequency: a rarer character is unknown.

    Returns:
        values, offsets and the vocabulary; ties in frequency are broken by code point.
    """
    counts = np.zeros(_CODE_POINTS, np.int64)
    points = [_code_points(text[: max_length - 1]) for text in texts]
    for kept, in_training in zip(points, training, strict=True):
        if in_training:
            np.add.at(counts, kept, 1)
    seen = np.flatnonzero(counts >= min_frequency)
    seen = seen[np.lexsort((seen, -counts[seen]))]
    vocabulary = Vocabulary("characters", (*SPECIAL_TOKENS, *map(chr, seen.tolist())))
    ids = np.full(_CODE_POINTS, UNKNOWN, vocabulary.dtype)
    ids[seen] = np.arange(len(SPECIAL_TOKENS), len(vocabulary.tokens))
    offsets = offsets_of([len(kept) + 1 for kept in points])
    values = np.full(offsets[-1], END, vocabulary.dtype)
    for i, kept in enumerate(points):
        values[offsets[i] : offsets[i + 1] - 1] = ids[kept]
    return values, offsets, vocabulary


def encode_bytes(texts: Sequence[str], max_length: int) -> tuple[np.ndarray, np.ndarray, Vocabulary]:
    """The first `max_length` UTF-8 bytes of each text, id = byte + 1, nothing at the end: LRA's own tokens."""
    pieces = [text.encode("utf-8", "surrogatepass")[:max_length] for text in texts]
    values = np.frombuffer(b"".join(pieces), np.uint8).astype(BYTES.dtype) + 1
    return values.astype(BYTES.dtype), offsets_of([len(piece) for piece in pieces]), BYTES


def encode_texts(
    texts: Sequence[str],
    max_length: int,
    tokens: str,
    *,
    training: Sequence[bool] | np.ndarray,
    min_frequency: int = 1,
) -> tuple[np.ndarray, np.ndarray, Vocabulary]:
    """`encode_bytes` or `encode_characters`, as `tokens` says."""
    if tokens == "bytes":
        return encode_bytes(texts, max_length)
    return encode_characters(texts, max_length, training=training, min_frequency=min_frequency)


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _picture(pixels: np.ndarray) -> str:
    side = math.isqrt(len(pixels))
    image = np.asarray(pixels[: side * side], np.float64).reshape(side, side)
    shrink = -(-side // _WIDEST_PICTURE)
    kept = side // shrink * shrink
    image = image[:kept, :kept].reshape(kept // shrink, shrink, kept // shrink, shrink).mean((1, 3))
    shades = np.asarray(list(_SHADES))[(image / 256 * len(_SHADES)).astype(int)]
    # Characters are about twice as high as wide.
    return "\n".join("".join(np.repeat(row, 2)) for row in shades)
