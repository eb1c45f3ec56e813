"""HiPPO matrices and spectra, in NumPy float64: eigenvectors in float32 would cost four digits.

Each matrix is normal plus low-rank, which S4 needs: A = S - P^T P; LegS has one row of P, given as a vector.

Source: HiPPO (Gu et al. 2020, arXiv 2008.07669); S4 (Gu et al. 2022, arXiv 2111.00396), appendix C; How to Train Your
HiPPO (Gu et al. 2022, arXiv 2206.12037), for LegT and FouT; S4D (Gu et al. 2022, arXiv 2206.11893), section 4.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Complex128, Float64

from ssm_bench.errors import UserError, unknown_name


def _remembered(decompose: Callable) -> Callable:
    """A decomposition that is not computed again: at a thousand states it takes seconds, and every block wants it."""
    kept = functools.lru_cache(maxsize=4)(decompose)

    @functools.wraps(decompose)
    def copies(*arguments: Any, **named: Any) -> tuple[np.ndarray, ...]:
        return tuple(array.copy() for array in kept(*arguments, **named))

    return copies


#: States of a HiPPO matrix: it is dense and decomposed on the host, at a cost that grows as their cube.
MOST_STATES = 4096


def _check_states(n: int) -> None:
    if n > MOST_STATES:
        raise UserError(f"a HiPPO matrix has at most {MOST_STATES} states, since it is dense; state_size gives {n}")


def hippo_legs(n: int) -> tuple[Float64[np.ndarray, "{n} {n}"], Float64[np.ndarray, " {n}"]]:
    """HiPPO-LegS: A (n, n) and B (n,) of x' = A x + B u, which remembers u in scaled Legendre polynomials.

    A_ij is -sqrt(2i + 1) sqrt(2j + 1) below the diagonal, -(i + 1) on it, 0 above; B_i = sqrt(2i + 1).

    Raises:
        UserError: more than MOST_STATES states; likewise for the other matrices.
    """
    _check_states(n)
    root = np.sqrt(2 * np.arange(n) + 1.0)
    A = -np.tril(np.outer(root, root), -1) - np.diag(np.arange(n) + 1.0)
    return A, root


def hippo_legs_normal(n: int) -> tuple[Float64[np.ndarray, "{n} {n}"], Float64[np.ndarray, " {n}"]]:
    """The normal matrix S (n, n) and vector P (n,) with A = S - P P^T for HiPPO-LegS; S + 1/2 is skew-symmetric."""
    A, _ = hippo_legs(n)
    P = np.sqrt(np.arange(n) + 0.5)
    return A + np.outer(P, P), P


@_remembered
def hippo_legs_diagonal(n: int) -> tuple[Complex128[np.ndarray, " {n}"], Complex128[np.ndarray, "{n} {n}"]]:
    """Diagonalizes the normal part of HiPPO-LegS.

    Returns:
        Lambda (n,), complex, by increasing imaginary part, real part -1/2; for even n the second half is conjugate to
        the first. V (n, n), unitary, eigenvectors as columns: S = V diag(Lambda) V*.
    """
    S, _ = hippo_legs_normal(n)
    # S + 1/2 is skew-symmetric, so -i (S + 1/2) is Hermitian: eigh gives real values and orthonormal vectors.
    imag, V = np.linalg.eigh(-1j * (S + 0.5 * np.eye(n)))
    return -0.5 + 1j * imag, V


def hippo_legt(n: int) -> tuple[Float64[np.ndarray, "{n} {n}"], Float64[np.ndarray, " {n}"]]:
    """HiPPO-LegT: A (n, n) and B (n,) of x' = A x + B u, which remembers u in Legendre polynomials on a sliding window.

    A_ij is -1/2 sqrt(2i + 1) sqrt(2j + 1) on and below the diagonal, times (-1)^(i - j) above; B_i = 1/2 sqrt(2i + 1).
    The window is 2 long, as in the code published with S4; the papers print twice A and B, for a window of 1.
    """
    _check_states(n)
    root = np.sqrt(2 * np.arange(n) + 1.0)
    row, column = np.indices((n, n))
    sign = np.where(row >= column, 1.0, (-1.0) ** (row - column))
    return -0.5 * np.outer(root, root) * sign, 0.5 * root


def hippo_legt_normal(n: int) -> tuple[Float64[np.ndarray, "{n} {n}"], Float64[np.ndarray, "2 {n}"]]:
    """The skew-symmetric S (n, n) and P (2, n) with A = S - P^T P for HiPPO-LegT.

    The rows of P hold sqrt(i + 1/2) at odd i and at even i.
    """
    A, _ = hippo_legt(n)
    even = np.arange(n) % 2 == 0
    P = np.sqrt(np.arange(n) + 0.5) * np.stack([~even, even])
    return A + P.T @ P, P


def hippo_fout(n: int) -> tuple[Float64[np.ndarray, "{n} {n}"], Float64[np.ndarray, " {n}"]]:
    """HiPPO-FouT: A (n, n) and B (n,) of x' = A x + B u, which remembers u in Fourier series on a sliding window.

    For even n. States 2k and 2k + 1 turn with frequency pi k; B is 1 at state 0, sqrt(2) at other even states and 0 at
    odd ones; A is that rotation less B B^T. The window is 2 long, as in the code published with S4; the papers print
    twice A and B, for a window of 1. State 1, the sine of frequency 0, stays at zero.

    Raises:
        UserError: an odd n.
    """
    S, P = hippo_fout_normal(n)
    return S - P.T @ P, P[0].copy()


def hippo_fout_normal(n: int) -> tuple[Float64[np.ndarray, "{n} {n}"], Float64[np.ndarray, "1 {n}"]]:
    """The skew-symmetric S (n, n) and P (1, n) with A = S - P^T P for HiPPO-FouT; n is even.

    Raises:
        UserError: an odd n.
    """
    if n % 2:
        raise UserError(f"HiPPO-FouT pairs sines and cosines: n must be even, got {n}")
    _check_states(n)
    k = np.arange(n // 2)
    S = np.zeros((n, n))
    S[2 * k + 1, 2 * k], S[2 * k, 2 * k + 1] = np.pi * k, -np.pi * k
    P = np.zeros((1, n))
    P[0, 0], P[0, 2::2] = 1, np.sqrt(2)
    return S, P


def hippo_lagt(n: int) -> tuple[Float64[np.ndarray, "{n} {n}"], Float64[np.ndarray, " {n}"]]:
    """HiPPO-LagT: A (n, n) and B (n,) of x' = A x + B u, which remembers u in Laguerre functions of the time since.

    A_ij is -1 below the diagonal, -1/2 on it, 0 above; B_i = 1. With tau the time since an input, state i is the
    integral of u times L_i(tau) exp(-tau / 2), functions that are orthonormal on [0, inf).

    Source: HiPPO (Gu et al. 2020, arXiv 2008.07669), appendix D, with the scale of the code published with S4.
    """
    _check_states(n)
    return 0.5 * np.eye(n) - np.tril(np.ones((n, n))), np.ones(n)


@_remembered
def hippo_dplr(
    name: str, n: int
) -> tuple[Complex128[np.ndarray, " {n//2}"], Complex128[np.ndarray, "rank {n//2}"], Complex128[np.ndarray, " {n//2}"]]:
    """A HiPPO matrix in the eigenbasis of its normal part: the arguments of `dplr_kernel` for n states.

    Args:
        name: "legs" (rank 1), "legt" (rank 2) or "fout" (rank 1).
        n: number of states, even: n/2 conjugate pairs.

    Returns:
        Lambda (n/2,), complex, imaginary part not negative, increasing; P (rank, n/2) and B (n/2,), complex. With
        their conjugates behind them A = diag(Lambda) - sum over ranks of P P*. Lambda of LegT and FouT is imaginary:
        the low-rank part alone damps them, and `dplr_kernel` wants a real part slightly below zero (published: -1e-4).

    Raises:
        UserError: an unknown name or an odd n.
    """
    if name not in _NORMAL_FORMS:
        raise unknown_name("HiPPO matrix", name, _NORMAL_FORMS)
    if n < 2 or n % 2:
        raise UserError(f"conjugate pairs need an even number of states, at least 2, got n = {n}")
    matrix, normal = _NORMAL_FORMS[name]
    (_, B), (S, P) = matrix(n), normal(n)
    shift = np.trace(S) / n
    imag, V = np.linalg.eigh(-1j * (S - shift * np.eye(n)))
    imag, V = imag[n // 2 :], V[:, n // 2 :]
    if name == "fout":
        # Frequency 0 comes twice, with real eigenvectors: states 0 and 1 make one conjugate pair of them.
        imag[0], V[:, 0] = 0, np.array([1, 1j] + [0] * (n - 2)) / np.sqrt(2)
    return shift + 1j * imag, np.atleast_2d(P) @ V.conj(), B @ V.conj()


_NORMAL_FORMS = {
    "legs": (hippo_legs, hippo_legs_normal),
    "legt": (hippo_legt, hippo_legt_normal),
    "fout": (hippo_fout, hippo_fout_normal),
}


def s4d_lin(n: int) -> Complex128[np.ndarray, " {n//2}"]:
    """S4D-Lin: n/2 eigenvalues -1/2 + i pi k, the upper half of n conjugate ones (S4D, section 4)."""
    return -0.5 + 1j * np.pi * np.arange(n // 2)


def s4d_inv(n: int) -> Complex128[np.ndarray, " {n//2}"]:
    """S4D-Inv: n/2 eigenvalues -1/2 + i (n / pi) (n / (2k + 1) - 1), of n conjugate ones (S4D, section 4)."""
    return -0.5 + 1j * n / np.pi * (n / (2 * np.arange(n // 2) + 1) - 1)


def s4d_real(n: int) -> Complex128[np.ndarray, " {n//2}"]:
    """S4D-Real: n/2 eigenvalues -(k + 1), those of HiPPO-LegS itself, without frequencies (S4D, section 4)."""
    return -(np.arange(n // 2) + 1.0) + 0j
