"""What a HiPPO state remembers: the history of a signal, reconstructed from the state alone.

Source: HiPPO (Gu et al. 2020, arXiv 2008.07669), section 2 and appendix D; FouT: How to Train Your HiPPO (Gu et al.
2022, arXiv 2206.12037). NumPy, float64.
"""

import numpy as np
import pandas as pd
from numpy.polynomial.laguerre import lagvander
from numpy.polynomial.legendre import legvander
from scipy.linalg import expm, solve_triangular

from ssm_bench import ops

NAMES = ("LegS", "LegT", "FouT", "LagT")
ORDERS = (4, 8, 16, 32, 64)
#: Samples of the signal, and its fastest component in periods over the history.
SAMPLES, FASTEST = 1024, 8
#: The window of LegT and FouT, in the time of their matrices. The history is exactly one window.
WINDOW = 2.0
#: The history in the time of the Laguerre functions, whose scale is free: n of them reach back to about 4 n.
REACH = 40.0
#: The order of the pictures.
PICTURED = 32


def reconstruction(orders: tuple[int, ...] = ORDERS, *, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reconstructs one random signal from states of several orders.

    Args:
        orders: numbers of states, even (FouT pairs sines and cosines).
        seed: of the signal.

    Returns:
        Curves of the order PICTURED, with columns time (from 0 to 1, the present), signal, and one for each of NAMES;
        and errors, with columns matrix, order and error: the root mean square error over that of the signal.
    """
    u = signal(seed)
    time = (np.arange(SAMPLES) + 0.5) / SAMPLES
    curves = pd.DataFrame({"time": time, "signal": u} | {name: recall(name, PICTURED, u) for name in NAMES})
    errors = [
        {"matrix": name, "order": n, "error": np.linalg.norm(recall(name, n, u) - u) / np.linalg.norm(u)}
        for name in NAMES
        for n in orders
    ]
    return curves, pd.DataFrame(errors)


def signal(seed: int) -> np.ndarray:
    """A random signal (SAMPLES,) with frequencies up to FASTEST periods over its length."""
    rng = np.random.default_rng(seed)
    time = (np.arange(SAMPLES) + 0.5) / SAMPLES
    frequency = rng.uniform(0, FASTEST, 12)
    waves = np.sin(2 * np.pi * (frequency * time[:, None] + rng.uniform(0, 1, 12)))
    return waves.sum(1) / np.sqrt(6)


def recall(name: str, n: int, u: np.ndarray) -> np.ndarray:
    """The signal u (l,), reconstructed from the state of order n after its end.

    Args:
        name: one of NAMES.
        n: number of states.
        u: samples, constant within a step; the history starts with the first.
    """
    # The middle of each step, as a share of the history that has passed since.
    since = 1 - (np.arange(len(u)) + 0.5) / len(u)
    order = np.arange(n)
    if name == "LegS":
        # Its basis stretches with the history: the whole of it is [-1, 1].
        return np.sqrt(2 * order + 1) * legvander(1 - 2 * since, n - 1) @ _scaled_state(n, u)
    matrices = {"LegT": ops.hippo_legt, "FouT": ops.hippo_fout, "LagT": ops.hippo_lagt}
    span = REACH if name == "LagT" else WINDOW
    state = _state(*matrices[name](n), u, span / len(u))
    tau = span * since
    if name == "LegT":
        basis = np.sqrt(2 * order + 1) * legvander(1 - tau, n - 1)
    elif name == "LagT":
        basis = lagvander(tau, n - 1) * np.exp(-tau / 2)[:, None]
    else:
        turns = np.pi * (order // 2) * tau[:, None]
        basis = np.where(order % 2, np.sqrt(2) * np.sin(turns), np.sqrt(2) * np.cos(turns))
        basis[:, 0] = 1
    return basis @ state


def _state(A: np.ndarray, B: np.ndarray, u: np.ndarray, dt: float) -> np.ndarray:
    """The state (n,) of x' = A x + B u after steps of dt with constant inputs: zero-order hold, exact."""
    A_bar, B_bar = zero_order_hold(A, B, dt)
    state = np.zeros(len(B))
    for sample in u:
        state = A_bar @ state + B_bar * sample
    return state


def zero_order_hold(A: np.ndarray, B: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """A_bar (n, n) and B_bar (n,) of the recurrence that is exact where u is constant within each step."""
    n = len(B)
    both = expm(np.block([[A, B[:, None]], [np.zeros((1, n + 1))]]) * dt)
    return both[:n, :n], both[:n, n]


def _scaled_state(n: int, u: np.ndarray) -> np.ndarray:
    """The state (n,) of HiPPO-LegS, x' = (A x + B u) / t, by the bilinear rule of its authors; the step cancels."""
    A, B = ops.hippo_legs(n)
    state, unit = np.zeros(n), np.eye(n)
    for k, sample in enumerate(u, start=1):
        forward = state + (A @ state) / (2 * k) + B * sample / k
        state = solve_triangular(unit - A / (2 * k), forward, lower=True, check_finite=False)
    return state
