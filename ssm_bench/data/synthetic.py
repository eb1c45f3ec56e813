"""Building blocks of the synthetic stand-ins: small, seeded, balanced, learnable in seconds.

No stand-in reveals its label by the length of a document: lengths are drawn before, or apart from, the label.
"""

import math
import zlib

import numpy as np

from ssm_bench.data.corpus import PIXELS, Corpus, Vocabulary, encode_texts, offsets_of, single_documents

#: Examples of a stand-in, unless fewer are asked for.
COUNTS = {"train": 2000, "validation": 500, "test": 500}

#: The seed of every stand-in.
SEED = 0

#: Length of a stand-in where the caller names none: enough to be a sequence, short enough for a CPU.
MAX_LENGTH = 256

#: The shortest length that still holds an example of every stand-in.
SHORTEST = 16

#: What the examples of the stand-ins are.
REVIEWS = "synthetic stand-in: texts with words that reveal the class"
PAIRS = "synthetic stand-in: pairs of texts on the same topic or on two"
PATTERNS = "synthetic stand-in: noisy patterns"
MARKERS = "synthetic stand-in: two markers with a stroke between them"

_NEUTRAL_WORDS = ("the film was", "it has a plot", "we saw this", "and then", "of course", "in the end", "they say")
_WORDS_OF_CLASS = (("dull", "bad", "boring", "awful"), ("great", "lovely", "joyful", "superb"))
_WORDS_OF_TOPIC = (("parser", "grammar", "syntax", "treebank"), ("audio", "voice", "phoneme", "codec"))
_CUE_SHARE = 0.4
_PIXEL_NOISE = 40.0


def balanced_labels(counts: dict[str, int], classes: int, rng: np.random.Generator) -> np.ndarray:
    """Labels of all splits one after another, each class equally often (to within one) in each split."""
    return np.concatenate([rng.permutation(np.arange(count) % classes) for count in counts.values()]).astype(np.int32)


def corpus(
    values: np.ndarray,
    offsets: np.ndarray,
    documents: np.ndarray,
    labels: np.ndarray,
    counts: dict[str, int],
    vocabulary: Vocabulary,
    identity: str = "synthetic stand-in",
) -> Corpus:
    """A corpus of kind "synthetic"; its identity says what its examples are."""
    return Corpus(values, offsets, documents, labels, dict(counts), vocabulary, identity, "synthetic", "generated")


def reviews(max_length: int, tokens: str, counts: dict[str, int], seed: int) -> Corpus:
    """Two classes of text: a share of the words reveals the class, the rest are neutral."""
    rng = np.random.default_rng(seed)
    labels = balanced_labels(counts, len(_WORDS_OF_CLASS), rng)
    texts = [_text(_WORDS_OF_CLASS[label], max_length, rng) for label in labels]
    values, offsets, vocabulary = encode_texts(texts, max_length, tokens, training=np.ones(len(texts), bool))
    return corpus(values, offsets, single_documents(len(texts)), labels, counts, vocabulary, REVIEWS)


def document_pairs(max_length: int, tokens: str, counts: dict[str, int], seed: int) -> Corpus:
    """Pairs of texts, each on one of two topics; label 1 where the topics are the same."""
    rng = np.random.default_rng(seed)
    labels = balanced_labels(counts, 2, rng)
    first = rng.integers(0, len(_WORDS_OF_TOPIC), len(labels))
    topics = np.stack([first, np.where(labels == 1, first, 1 - first)], axis=1)
    texts = [_text(_WORDS_OF_TOPIC[topic], max_length, rng) for topic in topics.ravel()]
    values, offsets, vocabulary = encode_texts(texts, max_length, tokens, training=np.ones(len(texts), bool))
    documents = np.arange(len(texts), dtype=np.int32).reshape(-1, 2)
    return corpus(values, offsets, documents, labels, counts, vocabulary, PAIRS)


def _text(cues: tuple[str, ...], max_length: int, rng: np.random.Generator) -> str:
    length = int(rng.integers(max_length // 2, max_length))
    pieces, size = [], 0
    while size < length:
        # The first piece is always a cue, so that the shortest text has one.
        choices = cues if not pieces or rng.random() < _CUE_SHARE else _NEUTRAL_WORDS
        pieces.append(choices[rng.integers(len(choices))])
        size += len(pieces[-1]) + 1
    return " ".join(pieces)[:length]


def class_patterns(max_length: int, classes: int, counts: dict[str, int], seed: int) -> Corpus:
    """Gray images of `classes` kinds: a smooth pattern of the class, at a random strength, under noise.

    Images are square, row by row, cut to `max_length` pixels where that is no square number.
    """
    rng = np.random.default_rng(seed)
    labels = balanced_labels(counts, classes, rng)
    side = _side(max_length)
    y, x = np.mgrid[0:side, 0:side] / side
    # The patterns are the task itself: they do not change with the seed.
    waves = np.random.default_rng(zlib.crc32(b"class patterns")).uniform(0.5, 2.5, (classes, 3))
    patterns = np.stack([np.sin(2 * np.pi * (a * y + b * x) + 3 * c) for a, b, c in waves])
    strength = rng.uniform(20, 60, (len(labels), 1, 1))
    images = 122.5 + strength * patterns[labels] + rng.normal(0, _PIXEL_NOISE, (len(labels), side, side))
    return _images(images, labels, counts, max_length, PATTERNS)


def joined_markers(max_length: int, counts: dict[str, int], seed: int) -> Corpus:
    """Black images with two markers; label 1 where a stroke joins them, label 0 where the stroke has a gap."""
    rng = np.random.default_rng(seed)
    labels = balanced_labels(counts, 2, rng)
    side = _side(max_length)
    # Where the image is cut, the stroke stays within the rows that are left.
    rows = max_length // side
    images = np.zeros((len(labels), side, side))
    columns = np.arange(side)
    middle = rng.uniform(0.35, 0.65, (len(labels), 1)) * rows
    bend = rng.uniform(-0.2, 0.2, (len(labels), 1)) * rows
    heights = np.clip(middle + bend * np.sin(np.pi * columns / side), 0, rows - 1).astype(int)
    example = np.arange(len(labels))[:, None]
    brightness = rng.uniform(120, 200, (len(labels), 1))
    images[example, heights, columns] = brightness
    gap = max(side // 4, 1)
    start = rng.integers(side // 4, side - side // 4 - gap + 1, (len(labels), 1))
    hidden = (columns >= start) & (columns < start + gap) & (labels[:, None] == 0)
    images[np.broadcast_to(example, hidden.shape)[hidden], heights[hidden], np.nonzero(hidden)[1]] = 0
    for column in (0, side - 1):
        images[example[:, 0], heights[:, column], column] = 255
    images += np.abs(rng.normal(0, 8, images.shape))
    return _images(images, labels, counts, max_length, MARKERS)


def _side(max_length: int) -> int:
    return math.isqrt(max_length - 1) + 1


def _images(images: np.ndarray, labels: np.ndarray, counts: dict[str, int], max_length: int, identity: str) -> Corpus:
    flat = np.clip(np.rint(images), 0, 255).astype(np.uint8).reshape(len(labels), -1)[:, :max_length]
    offsets = offsets_of(np.full(len(labels), max_length))
    return corpus(flat.ravel(), offsets, single_documents(len(labels)), labels, counts, PIXELS, identity)
