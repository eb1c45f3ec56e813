"""The width that heads share."""

import pytest

from ssm_bench.errors import UserError
from ssm_bench.network.heads import width_of_heads


def test_no_width_is_that_of_the_model():
    assert width_of_heads(0, 12, 4) == 12
    assert width_of_heads(8, 12, 4) == 8


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((-8, 12, 4), "width must be at least 0; got -8"),
        ((8, 12, 3), "heads must divide the width 8; got 3"),
        ((0, 12, 0), "heads must divide the width 12; got 0"),
    ],
)
def test_impossible_numbers(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        width_of_heads(*arguments)
