"""The diagonal RNN: the LRU without its normalization, the step before it in its paper."""

from ssm_bench.mixers.lru import LRU


class DiagonalRNN(LRU):
    """x_t = lambda x_{t-1} + B u_t, y_t = Re(C x_t) + D u_t, with lambda = exp(-exp(nu) + i exp(theta)).

    It is the LRU with gamma = 1, so that a state grows as its eigenvalue nears the unit circle, to a variance of
    1 / (1 - |lambda|^2) times that of its input. On the whole disk, r_min = 0 and r_max = 1, its eigenvalues are those
    that the linear RNN starts from.

    Source: Orvieto et al. 2023 (arXiv 2303.06349), sections 3.2 and 3.3.
    """

    normalized = False
