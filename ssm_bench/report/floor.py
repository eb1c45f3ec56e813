"""The least time a device could take: what an operation must move through memory, over the memory's bandwidth.

Inputs are read once and outputs written once; whatever lies between is kept on the chip, and recomputed
for the gradient. No program has to be this fast, and none can be faster whose arrays are larger than the cache (50 MB
on an H100): what still lies there when it is read again does not come from memory.
"""

from collections.abc import Sequence
from math import prod

#: Part of a device's name -> bytes a second of its memory, as the maker states it.
BANDWIDTH = {"H100": 3.35e12, "H200": 4.8e12}

#: Part of a device's name -> exponentials a second: processors x 16 a clock x clock (Hz). The clock is the one at which
#: the maker's 67 float32 TFLOPS hold: 132 processors x 128 a clock x 2 operations.
EXPONENTIALS = {"H100": 132 * 16 * 1.98e9, "H200": 132 * 16 * 1.98e9}

FLOAT, COMPLEX = 4, 8

#: Passes over the activations (tokens x width) that a layer's training step makes at least: forward it reads its input
#: and writes its output; backward it reads both gradient and input, and writes the gradient. They are passes through
#: memory where the activations of a layer do not fit into the cache; where they do, this is a scale and no bound.
STEP_PASSES = 5


def step_ms(device: str, *, tokens: float, width: float, layers: float, bits: float = 32) -> float | None:
    """Least milliseconds of a training step, whatever the model; None for a device whose bandwidth is not listed.

    A step whose layers' activations fit into the cache can be faster.

    Args:
        device: its name.
        tokens: in a batch, padding counted.
        width: of the activations between layers.
        layers: number of them.
        bits: of an activation.
    """
    return _ms(device, STEP_PASSES * tokens * width * layers * bits / 8)


def operation_ms(device: str, operation: str, shape: Sequence[int], *, backward: bool) -> float | None:
    """Least milliseconds of an operation of `ssm-bench bench scan`, forward or with the gradients of all inputs.

    Args:
        device: its name.
        operation: selective_scan (b, l, d, n), rg_lru (b, l, h), linear_recurrence (b, l, p) or diagonal_ssm
            (b, l, p, h).
        shape: its sizes.
        backward: with gradients.

    Returns:
        None for a device whose bandwidth is not listed, or another operation.
    """
    if operation not in BYTES_A_STEP:
        return None
    forward, gradients = BYTES_A_STEP[operation](*shape[2:])
    moved = prod(shape[:2]) * (forward + (gradients if backward else 0))
    floor = _ms(device, moved)
    if floor is not None and operation == "selective_scan":
        # Every state has a decay of its own at every step, which the backward pass computes again.
        decays = prod(shape) * (2 if backward else 1)
        floor = max(floor, 1000 * decays / _of(EXPONENTIALS, device))
    return floor


#: Operation -> bytes read and written for one step of one sequence: forward, and for the gradients besides.
BYTES_A_STEP = {
    # u, delta, z and y (d), B and C (n); then the inputs, the gradient of y, and theirs.
    "selective_scan": lambda d, n: (FLOAT * (4 * d + 2 * n), FLOAT * (7 * d + 4 * n)),
    # x, both gates and h; then x, both gates, the gradient of h, and three gradients.
    "rg_lru": lambda h: (FLOAT * 4 * h, FLOAT * 7 * h),
    # b and h; then b, the gradient of h and that of b.
    "linear_recurrence": lambda p: (COMPLEX * 2 * p, COMPLEX * 3 * p),
    # u and y; then u, the gradient of y and that of u.
    "diagonal_ssm": lambda p, h: (FLOAT * 2 * h, FLOAT * 3 * h),
}


def _ms(device: str, moved: float) -> float | None:
    bandwidth = _of(BANDWIDTH, device)
    return 1000 * moved / bandwidth if bandwidth else None


def _of(facts: dict[str, float], device: str) -> float:
    """The fact about a device, by a part of its name; 0 where none is listed."""
    return next((value for part, value in facts.items() if part in device), 0.0)
