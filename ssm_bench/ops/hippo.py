"""HiPPO matrices and spectra, in NumPy float64: eigenvectors in float32 would cost four digits.

Source: HiPPO (Gu et al. 2020, arXiv 2008.07669); S4 (Gu et al. 2022, arXiv 2111.00396), appendix C; S4D (Gu et al.
2022, arXiv 2206.11893), section 4.
"""

import numpy as np


def hippo_legs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """HiPPO-LegS: A (n, n) and B (n,) of x' = A x + B u, which remembers u in scaled Legendre polynomials.

    A_ij is -sqrt(2i + 1) sqrt(2j + 1) below the diagonal, -(i + 1) on it, 0 above; B_i = sqrt(2i + 1).
    """
    root = np.sqrt(2 * np.arange(n) + 1.0)
    A = -np.tril(np.outer(root, root), -1) - np.diag(np.arange(n) + 1.0)
    return A, root


def hippo_legs_normal(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The normal matrix S (n, n) and vector P (n,) with A = S - P P^T for HiPPO-LegS; S + 1/2 is skew-symmetric."""
    A, _ = hippo_legs(n)
    P = np.sqrt(np.arange(n) + 0.5)
    return A + np.outer(P, P), P


def hippo_legs_diagonal(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Diagonalises the normal part of HiPPO-LegS.

    Returns:
        Lambda (n,), complex, by increasing imaginary part, real part -1/2; for even n the second half is conjugate to
        the first. V (n, n), unitary, eigenvectors as columns: S = V diag(Lambda) V*.
    """
    S, _ = hippo_legs_normal(n)
    # S + 1/2 is skew-symmetric, so -i (S + 1/2) is Hermitian: eigh gives real values and orthonormal vectors.
    imag, V = np.linalg.eigh(-1j * (S + 0.5 * np.eye(n)))
    return -0.5 + 1j * imag, V


def s4d_lin(n: int) -> np.ndarray:
    """S4D-Lin: n/2 eigenvalues -1/2 + i pi k, the upper half of n conjugate ones (S4D, section 4)."""
    return -0.5 + 1j * np.pi * np.arange(n // 2)


def s4d_inv(n: int) -> np.ndarray:
    """S4D-Inv: n/2 eigenvalues -1/2 + i (n / pi) (n / (2k + 1) - 1), of n conjugate ones (S4D, section 4)."""
    return -0.5 + 1j * n / np.pi * (n / (2 * np.arange(n // 2) + 1) - 1)
