"""Parameter types: what a parameter is decides its learning rate and weight decay.

The optimiser's groups are read from these types (see `ssm_bench.training.optimizer`), never from names.
"""

from flax import nnx


class Exempt(nnx.Param):
    """A bias, a norm's scale or offset, an embedding: what most recipes keep out of weight decay."""

    role = "exempt"


class SSMParam(nnx.Param):
    """A parameter of a state space model; always one of the roles below."""


class Spectrum(SSMParam):
    """The state matrix: Lambda, A, its low-rank part, or nu and theta of the LRU."""

    role = "spectrum"


class StepSize(SSMParam):
    """The step size dt, or its logarithm."""

    role = "step_size"


class InputMatrix(SSMParam):
    """B, and what scales the input of the recurrence (gamma of the LRU)."""

    role = "input_matrix"


class OutputMatrix(SSMParam):
    """C."""

    role = "output_matrix"


class Feedthrough(SSMParam):
    """D, the skip from input to output."""

    role = "feedthrough"


class Constant(nnx.BatchStat):
    """An array drawn once, such as random features: training leaves it as it is and keeps it with the statistics."""


ROLES = ("weight", "exempt", "spectrum", "step_size", "input_matrix", "output_matrix", "feedthrough")


def role_of(variable_type: type) -> str:
    """The role of a parameter type: one of ROLES; a plain nnx.Param is a "weight"."""
    return getattr(variable_type, "role", "weight")
