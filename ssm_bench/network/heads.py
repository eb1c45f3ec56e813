"""What mixers with several heads share."""

from ssm_bench.errors import ArgumentError


def width_of_heads(width: int, d_model: int, heads: int) -> int:
    """The width of the queries of all heads together: `width`, or `d_model` where that is 0.

    Raises:
        UserError: a negative width, or a number of heads that does not divide it.
    """
    if width < 0:
        raise ArgumentError("width", f"must be at least 0; got {width}")
    width = width or d_model
    if heads < 1 or width % heads:
        raise ArgumentError("heads", f"must divide the width {width}; got {heads}")
    return width
