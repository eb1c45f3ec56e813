"""What the operations mean, as plain float64 loops."""

import numpy as np


def recurrence(a, b, h0=None, reverse=False):
    """h_t = a_t h_{t-1} + b_t; a (b, l, ...) or constant, of the trailing axes of b."""
    a, b = np.asarray(a, np.complex128), np.asarray(b, np.complex128)
    a = np.broadcast_to(a, b.shape)
    h = np.zeros_like(b)
    state = np.zeros_like(b[:, 0]) if h0 is None else np.asarray(h0, np.complex128)
    steps = range(b.shape[1])
    for t in reversed(steps) if reverse else steps:
        state = a[:, t] * state + b[:, t]
        h[:, t] = state
    return h


def convolution(u, forward, backward=None):
    """The causal convolution of u (b, l, h) with forward (h, k), and what backward (h, k) adds from later steps."""
    u = np.asarray(u, np.float64)
    y = np.zeros_like(u)
    for t in range(u.shape[1]):
        for s in range(u.shape[1]):
            if s <= t and t - s < forward.shape[1]:
                y[:, t] += forward[:, t - s] * u[:, s]
            if backward is not None and s > t and s - t - 1 < backward.shape[1]:
                y[:, t] += backward[:, s - t - 1] * u[:, s]
    return y


def relative_error(found, expected):
    """Root-mean-square error over root-mean-square value."""
    found, expected = np.asarray(found), np.asarray(expected)
    return np.linalg.norm(found - expected) / max(np.linalg.norm(expected), 1e-30)
