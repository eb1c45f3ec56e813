"""Lower bounds on times: the memory traffic of an operation divided by the memory bandwidth of the device.

Inputs are read once and outputs are written once. Intermediate values stay on the chip and are recomputed for the
gradient. The bound holds for arrays that are larger than the cache (50 MB on an H100). Smaller arrays may still be in
the cache when they are read again.
"""

from collections.abc import Sequence
from math import prod

#: Part of a device's name -> memory bandwidth in bytes per second, as stated by the manufacturer.
BANDWIDTH = {"H100": 3.35e12, "H200": 4.8e12}

#: Part of a device's name -> exponentials per second: processors x 16 per clock x clock (Hz). The clock corresponds to
#: the manufacturer's 67 float32 TFLOPS: 132 processors x 128 per clock x 2 operations.
EXPONENTIALS = {"H100": 132 * 16 * 1.98e9, "H200": 132 * 16 * 1.98e9}

FLOAT, COMPLEX = 4, 8

#: Minimum number of passes over the activations (tokens x width) in a layer's training step. The forward pass reads the
#: input and writes the output; the backward pass reads the gradient and the input, and writes the gradient. If the
#: activations of a layer fit into the cache, passes need not reach memory, and this is a scale instead of a bound.
STEP_PASSES = 5


def step_ms(device: str, *, tokens: float, width: float, layers: float, bits: float = 32) -> float | None:
    """Lower bound of a training step of any model in milliseconds; None if the bandwidth of the device is not listed.

    A step can be faster if the activations of a layer fit into the cache.

    Args:
        device: name of the device.
        tokens: tokens per batch, including padding.
        width: width of the activations between layers.
        layers: number of layers.
        bits: bits of an activation.
    """
    return _ms(device, STEP_PASSES * tokens * width * layers * bits / 8)


def operation_ms(device: str, operation: str, shape: Sequence[int], *, backward: bool) -> float | None:
    """Lower bound of an operation of `ssm-bench bench scan` in milliseconds, forward or with all gradients.

    Args:
        device: name of the device.
        operation: selective_scan (b, l, d, n), rg_lru (b, l, h), linear_recurrence (b, l, p) or diagonal_ssm
            (b, l, p, h).
        shape: sizes of the operation.
        backward: whether to include gradients.

    Returns:
        The bound; None if the bandwidth of the device is not listed, or for another operation.
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


#: Operation -> bytes read and written for one step of one sequence: forward, and in addition for the gradients.
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
