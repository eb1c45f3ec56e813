"""Eigenvalues of the discrete dynamics: the state transition of each layer, at every position if it depends on inputs.

The overview (arXiv 2403.16899), Lemma II.2 and Figure 2: eigenvalues inside the unit circle make a linear recurrence
stable, and those close to it remember long.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from ssm_bench.analysis.subject import Subject, layers
from ssm_bench.errors import UserError

#: From this modulus on an eigenvalue counts as close to the unit circle: its time constant is 100 steps.
CLOSE = 0.99
#: Eigenvalues of one model in the table of points; where there are more, a random choice.
POINTS = 1000
QUANTILES = {"05": 0.05, "50": 0.5, "95": 0.95}


def spectrum(subjects: Iterable[Subject], *, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The eigenvalues of models.

    Args:
        subjects: models and inputs.
        seed: of the choice of points.

    Returns:
        Points, with columns model, layer, real and imaginary, at most POINTS of a model; and a summary of all
        eigenvalues, one row a layer: `inside`, the share with |λ| < 1; `close`, the share with CLOSE <= |λ| < 1;
        quantiles of |λ| and of the time constant -1 / log |λ| in steps, infinite from |λ| = 1 on;
        `records`, the path of the record of a trained model.

    Raises:
        UserError: a mixer that defines no eigenvalues.
    """
    points, summary = [], []
    for subject in subjects:
        found = [_eigenvalues(subject, layer.block.mixer, layer.mixed) for layer in layers(subject)]
        for index, values in enumerate(found):
            summary.append({"model": subject.title, "layer": index} | describe(values) | {"records": subject.record})
            shown = np.random.default_rng(seed).choice(
                values, min(len(values), max(1, POINTS // len(found))), replace=False, shuffle=False
            )
            points.append(
                pd.DataFrame(
                    {"model": subject.title, "layer": index, "real": np.real(shown), "imaginary": np.imag(shown)}
                )
            )
    return pd.concat(points, ignore_index=True), pd.DataFrame(summary)


def describe(values: np.ndarray) -> dict[str, float]:
    """Shares and quantiles of eigenvalues (n,), as `spectrum` returns them."""
    modulus = np.abs(values)
    constants = time_constants(modulus)
    shares = {"inside": np.mean(modulus < 1), "close": np.mean((modulus >= CLOSE) & (modulus < 1))}
    quantiles = {f"modulus_{name}": np.quantile(modulus, q) for name, q in QUANTILES.items()}
    quantiles |= {f"steps_{name}": np.quantile(constants, q, method="lower") for name, q in QUANTILES.items()}
    return {"eigenvalues": len(values)} | {name: float(value) for name, value in (shares | quantiles).items()}


def time_constants(modulus: np.ndarray) -> np.ndarray:
    """Steps in which a mode decays by a factor of e: -1 / log |λ|; infinite from |λ| = 1 on, 0 for λ = 0."""
    with np.errstate(divide="ignore"):
        return np.where(modulus < 1, -1 / np.log(np.minimum(modulus, 1)), np.inf)


def _eigenvalues(subject: Subject, mixer, x) -> np.ndarray:
    """All eigenvalues of a layer (n,), complex128."""
    try:
        return np.asarray(mixer.eigenvalues(x)).ravel().astype(complex)
    except TypeError as error:
        # A mixer without them says so; any other TypeError is a fault in its method.
        if "defines no eigenvalues" not in str(error):
            raise
        raise UserError(
            f"analyze spectrum: {error}, so {subject.name} has no spectrum; a mixer gets one by the method "
            "`eigenvalues` of ssm_bench.network.mixer.Mixer"
        ) from error
