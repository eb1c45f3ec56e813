"""What damping means for memory: two sequences of two tokens through a mass on a spring with a damper.

The mass obeys m x'' + c x' + k x = u with the force u. Each token is one step of force. Both sequences end with the
same token and begin with opposite ones, so that the difference of their states is what is left of the first token.

Its discrete eigenvalues are a conjugate pair exp(-nu +- i theta), which is how the LRU (Orvieto et al. 2023,
arXiv 2303.06349) parametrizes a state, or two real numbers from critical damping on.
"""

import numpy as np
import pandas as pd
from scipy.linalg import expm

#: Mass and spring: without damping one turn takes 2 pi units of time.
MASS, SPRING = 1.0, 1.0
#: Damper, in units of the critical one, 2 sqrt(m k).
DAMPERS = {"low damping": 0.02, "high damping": 1.5, "negative damping": -0.05}
#: Units of time a step, and steps.
STEP, STEPS = 0.25, 240
#: Steps at which the two tokens come.
PLACES = (0, 40)
#: The sequences: equal second tokens.
SEQUENCES = {"A": (1.0, 1.0), "B": (-1.0, 1.0)}


def damping() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs both sequences through the systems of DAMPERS.

    Returns:
        Curves, with columns system, step, A and B (the positions of the mass) and distance (between the two states, in
        units of sqrt(2 energy)); and eigenvalues, with columns system, damping (c over the critical one), real,
        imaginary and modulus, two rows a system.
    """
    curves, eigenvalues = [], []
    for name, ratio in DAMPERS.items():
        transition, gain = discretized(ratio)
        states = {sequence: _run(transition, gain, tokens) for sequence, tokens in SEQUENCES.items()}
        # Spring energy and kinetic energy weigh position and velocity.
        difference = (states["A"] - states["B"]) * np.sqrt([SPRING, MASS])
        curves.append(
            pd.DataFrame(
                {"system": name, "step": np.arange(1, STEPS + 1)}
                | {sequence: run[:, 0] for sequence, run in states.items()}
                | {"distance": np.linalg.norm(difference, axis=1)}
            )
        )
        roots = np.linalg.eigvals(transition)
        parts = {"real": np.real(roots), "imaginary": np.imag(roots), "modulus": np.abs(roots)}
        eigenvalues.append(pd.DataFrame({"system": name, "damping": ratio} | parts))
    return pd.concat(curves, ignore_index=True), pd.concat(eigenvalues, ignore_index=True)


def discretized(ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """The system under zero-order hold: transition (2, 2) of position and velocity, and the gain of a force (2,).

    Args:
        ratio: the damper over the critical one.
    """
    damper = ratio * 2 * np.sqrt(MASS * SPRING)
    generator = np.array([[0, 1, 0], [-SPRING / MASS, -damper / MASS, 1 / MASS], [0, 0, 0]])
    both = expm(generator * STEP)
    return both[:2, :2], both[:2, 2]


def _run(transition: np.ndarray, gain: np.ndarray, tokens: tuple[float, float]) -> np.ndarray:
    """Position and velocity after each step, (STEPS, 2)."""
    forces = np.zeros(STEPS)
    forces[list(PLACES)] = tokens
    states, state = [], np.zeros(2)
    for force in forces:
        state = transition @ state + gain * force
        states.append(state)
    return np.stack(states)
