"""Three views of one linear state space layer: a differential equation, a recurrence and a convolution.

x' = A x + B u, y = C x, where u is constant within each step. The recurrence by zero-order hold is exact, and the
convolution with its impulse response equals it: three programs, one function. The bilinear rule, which the LSSL uses,
approximates it.

Source: Gu et al. 2021, "Combining recurrent, convolutional, and continuous-time models with linear state-space layers"
(arXiv 2110.13985). NumPy, float64.
"""

import numpy as np
import pandas as pd

from ssm_bench import ops
from ssm_bench.analysis import hippo

#: States, and the time of the whole signal.
ORDER, SPAN = 16, 8.0
#: Steps that the signal is divided into; the picture shows PICTURED of them.
STEPS = (64, 128, 256, 512, 1024)
PICTURED = 256
#: Steps of the Runge-Kutta method within one step of the signal.
SUBSTEPS = 32

VIEWS = ("continuous", "recurrent", "convolutional")


def views(*, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The output of HiPPO-LegS with a random C for one random signal, computed in three ways.

    Args:
        seed: of C and of the signal.

    Returns:
        Curves at PICTURED steps, with columns time, signal, and one for each of VIEWS; and differences, with columns
        steps, dt and three relative root mean squares: `recurrent` and `bilinear`, of the recurrences by zero-order
        hold and by the bilinear rule to the continuous view; `convolutional`, of the convolution to the recurrence by
        zero-order hold.
    """
    A, B = ops.hippo_legs(ORDER)
    C = np.random.default_rng(seed).normal(size=ORDER)
    curves, differences = pd.DataFrame(), []
    for steps in STEPS:
        dt = SPAN / steps
        u = hippo.signal(seed)[:: hippo.SAMPLES // steps]
        hold, rule = hippo.zero_order_hold(A, B, dt), bilinear(A, B, dt)
        y = continuous(A, B, C, u, dt)
        stepped = recurrent(*hold, C, u)
        convolved = convolutional(*hold, C, u)
        differences.append(
            {
                "steps": steps,
                "dt": dt,
                "recurrent": _difference(stepped, y),
                "convolutional": _difference(convolved, stepped),
                "bilinear": _difference(recurrent(*rule, C, u), y),
            }
        )
        if steps == PICTURED:
            time = dt * (1 + np.arange(steps))
            curves = pd.DataFrame({"time": time, "signal": u, **dict(zip(VIEWS, (y, stepped, convolved), strict=True))})
    return curves, pd.DataFrame(differences)


def continuous(A: np.ndarray, B: np.ndarray, C: np.ndarray, u: np.ndarray, dt: float) -> np.ndarray:
    """y (l,) at the end of each step of x' = A x + B u, by the classical Runge-Kutta method of order 4."""
    x, y, h = np.zeros(len(B)), [], dt / SUBSTEPS
    for sample in u:
        drive = B * sample
        for _ in range(SUBSTEPS):
            k1 = A @ x + drive
            k2 = A @ (x + h / 2 * k1) + drive
            k3 = A @ (x + h / 2 * k2) + drive
            k4 = A @ (x + h * k3) + drive
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        y.append(C @ x)
    return np.array(y)


def recurrent(A_bar: np.ndarray, B_bar: np.ndarray, C: np.ndarray, u: np.ndarray) -> np.ndarray:
    """y (l,) of x_t = A_bar x_{t-1} + B_bar u_t, y_t = C x_t."""
    x, y = np.zeros(len(B_bar)), []
    for sample in u:
        x = A_bar @ x + B_bar * sample
        y.append(C @ x)
    return np.array(y)


def convolutional(A_bar: np.ndarray, B_bar: np.ndarray, C: np.ndarray, u: np.ndarray) -> np.ndarray:
    """The same y (l,) as the convolution of u with the impulse response K_k = C A_bar^k B_bar."""
    kernel, power = [], B_bar
    for _ in u:
        kernel.append(C @ power)
        power = A_bar @ power
    return np.convolve(kernel, u)[: len(u)]


def bilinear(A: np.ndarray, B: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """A_bar (n, n) and B_bar (n,) of the bilinear (Tustin) rule, exact to the second order in dt."""
    unit = np.eye(len(B))
    backward = unit - dt / 2 * A
    return np.linalg.solve(backward, unit + dt / 2 * A), np.linalg.solve(backward, dt * B)


def _difference(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
