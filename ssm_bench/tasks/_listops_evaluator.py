"""Evaluates ListOps expressions by a stack, sharing nothing with the generator: a check of the answers."""

from collections.abc import Sequence
from statistics import median

OPERATORS = {
    "[MAX": max,
    "[MIN": min,
    # Ordinary median, cut to a whole number, as in the benchmark.
    "[MED": lambda values: int(median(values)),
    "[SM": lambda values: sum(values) % 10,
}


def evaluate(words: Sequence[str]) -> int:
    """The value, 0..9, of an expression without round brackets, such as `[MAX 2 [SM 9 4 ] ]`.

    Raises:
        ValueError: the words are no expression.
    """
    levels: list[list] = [[]]
    for word in words:
        if word in OPERATORS:
            levels.append([OPERATORS[word]])
        elif word != "]":
            levels[-1].append(int(word))
        elif len(levels) == 1 or len(levels[-1]) == 1:
            raise ValueError("a bracket closes nothing, or an operator without arguments")
        else:
            operator, *values = levels.pop()
            levels[-1].append(operator(values))
    if len(levels) != 1 or len(levels[0]) != 1:
        raise ValueError("a bracket is not closed, or there is more than one expression")
    return levels[0][0]


def wrong_answers(vocabulary: Sequence[str], examples: tuple[list[bytes], list[int]]) -> int:
    """How many of the examples have another value than their label, or are no expression.

    Args:
        vocabulary: the word of each id.
        examples: expressions, one byte for the id of each word, and their labels.
    """
    return sum(not _is_right(vocabulary, *example) for example in zip(*examples, strict=True))


def _is_right(vocabulary: Sequence[str], expression: bytes, label: int) -> bool:
    try:
        return evaluate([vocabulary[i] for i in expression]) == label
    except ValueError:
        return False
