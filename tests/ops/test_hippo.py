"""HiPPO-LegS and the spectra derived from it."""

from pathlib import Path

import numpy as np
import pytest

from ssm_bench.errors import UserError
from ssm_bench.ops import (
    hippo_dplr,
    hippo_fout,
    hippo_fout_normal,
    hippo_legs,
    hippo_legs_diagonal,
    hippo_legs_normal,
    hippo_legt,
    hippo_legt_normal,
    s4d_inv,
    s4d_lin,
)

GOLDEN = Path(__file__).parents[1] / "golden"
# The golden eigenvalues are float32, computed in float32 by the authors.
PARITY = 1e-6
# Dense float64 linear algebra of 64 states with entries up to 64.
FLOAT64 = 1e-12


def test_authors_diagonalisation():
    golden = np.load(GOLDEN / "hippo_legs_32.npz")
    Lambda, V = hippo_legs_diagonal(32)
    _, B = hippo_legs(32)
    _, P = hippo_legs_normal(32)
    np.testing.assert_allclose(Lambda, golden["Lambda"], rtol=PARITY, atol=5 * PARITY)
    np.testing.assert_allclose(B, golden["B"], rtol=PARITY)
    # An eigenvector is free up to its phase: compare what does not depend on it.
    np.testing.assert_allclose(abs(V.conj().T @ P), abs(golden["P"]), rtol=1e-5)
    np.testing.assert_allclose(abs(V.conj().T @ B), abs(golden["B_eig"]), rtol=1e-5)
    phaseless = (V.conj().T @ B) * (V.conj().T @ P).conj()
    np.testing.assert_allclose(phaseless, golden["B_eig"] * golden["P"].conj(), rtol=1e-4)


def test_matrix_by_its_definition():
    A, B = hippo_legs(4)
    for i in range(4):
        assert B[i] == pytest.approx(np.sqrt(2 * i + 1))
        for j in range(4):
            expected = -np.sqrt((2 * i + 1) * (2 * j + 1)) if i > j else -(i + 1) if i == j else 0
            assert A[i, j] == pytest.approx(expected)


@pytest.mark.parametrize("n", [1, 2, 7, 64])
def test_normal_plus_low_rank(n):
    A, _ = hippo_legs(n)
    S, P = hippo_legs_normal(n)
    np.testing.assert_allclose(S - np.outer(P, P), A, atol=FLOAT64)
    np.testing.assert_allclose(S + S.T, -np.eye(n), atol=FLOAT64)
    Lambda, V = hippo_legs_diagonal(n)
    np.testing.assert_allclose(V @ np.diag(Lambda) @ V.conj().T, S, atol=100 * FLOAT64)
    np.testing.assert_allclose(V.conj().T @ V, np.eye(n), atol=FLOAT64)
    assert (np.diff(Lambda.imag) > 0).all()


@pytest.mark.parametrize("n", [2, 4, 64])
@pytest.mark.parametrize(("matrix", "normal"), [(hippo_legt, hippo_legt_normal), (hippo_fout, hippo_fout_normal)])
def test_sliding_windows_are_skew_plus_low_rank(matrix, normal, n):
    A, _ = matrix(n)
    S, P = normal(n)
    np.testing.assert_allclose(S - P.T @ P, A, atol=FLOAT64)
    np.testing.assert_allclose(S, -S.T, atol=FLOAT64)


def test_sliding_window_matrices_by_their_definition():
    A, B = hippo_legt(3)
    r3, r5, r15 = np.sqrt([3, 5, 15])
    np.testing.assert_allclose(A, np.array([[-1, r3, -r5], [-r3, -3, r15], [-r5, -r15, -5]]) / 2)
    np.testing.assert_allclose(B, np.array([1, r3, r5]) / 2)
    A, B = hippo_fout(4)
    r2, pi = np.sqrt(2), np.pi
    np.testing.assert_allclose(A, [[-1, 0, -r2, 0], [0, 0, 0, 0], [-r2, 0, -2, -pi], [0, 0, pi, 0]])
    np.testing.assert_allclose(B, [1, 0, r2, 0])


def test_legt_remembers_a_ramp():
    """After u = t on a window of 2 the mean of the window is t - 1, and its slope constant, in Legendre polynomials."""
    A, B = hippo_legt(6)
    slope = -np.linalg.solve(A, B)
    offset = np.linalg.solve(A, slope)
    np.testing.assert_allclose(slope, [1, 0, 0, 0, 0, 0], atol=FLOAT64)
    np.testing.assert_allclose(offset, [-1, 1 / np.sqrt(3), 0, 0, 0, 0], atol=FLOAT64)


@pytest.mark.parametrize("n", [2, 8, 64])
@pytest.mark.parametrize(
    ("name", "matrix", "rank"), [("legs", hippo_legs, 1), ("legt", hippo_legt, 2), ("fout", hippo_fout, 1)]
)
def test_eigenbasis_keeps_the_impulse_response(name, matrix, rank, n):
    """B* A^k B does not depend on the basis."""
    (A, B), (Lambda, P, B_eig) = matrix(n), hippo_dplr(name, n)
    assert Lambda.shape == B_eig.shape == (n // 2,) and P.shape == (rank, n // 2)
    assert (Lambda.imag >= 0).all() and (np.diff(Lambda.imag) > 0).all()
    both = lambda x: np.concatenate([x, x.conj()], axis=-1)  # noqa: E731
    Lambda, P, B_eig = both(Lambda), both(P), both(B_eig)
    A_eig = np.diag(Lambda) - P.T @ P.conj()
    scale = np.linalg.norm(A, 2)
    for k in range(4):
        expected = B @ np.linalg.matrix_power(A / scale, k) @ B
        found = B_eig.conj() @ np.linalg.matrix_power(A_eig / scale, k) @ B_eig
        assert found == pytest.approx(expected, rel=100 * FLOAT64, abs=100 * FLOAT64)


def test_authors_legt():
    golden = np.load(GOLDEN / "s4_kernel_legt.npz")
    Lambda, P, _ = hippo_dplr("legt", 12)
    # Theirs are the conjugates, by decreasing modulus, with a real part of -1e-4.
    order = np.argsort(-abs(golden["Lambda"][0].imag))
    np.testing.assert_allclose(-golden["Lambda"][0].imag[order], Lambda.imag[::-1], rtol=PARITY)
    # Each vector has its own phase; both ranks share it.
    theirs = golden["P"][:, 0, order]
    np.testing.assert_allclose(abs(theirs), abs(P[:, ::-1]), rtol=1e-5)
    np.testing.assert_allclose(theirs[0].conj() * theirs[1], (P[0] * P[1].conj())[::-1], rtol=1e-4, atol=1e-4)


def test_impossible_sizes_and_names():
    with pytest.raises(UserError, match="n must be even, got 5"):
        hippo_fout(5)
    with pytest.raises(UserError, match="even number of states.* n = 7"):
        hippo_dplr("legs", 7)
    with pytest.raises(UserError, match=r"HiPPO matrix 'leg'.*legs.*legt"):
        hippo_dplr("leg", 8)


def test_s4d_spectra():
    np.testing.assert_allclose(s4d_lin(8), -0.5 + 1j * np.pi * np.arange(4))
    inverse = [8 / np.pi * (8 / (2 * k + 1) - 1) for k in range(4)]
    np.testing.assert_allclose(s4d_inv(8), -0.5 + 1j * np.array(inverse))
    # S4D-Inv was made to follow the spectrum of LegS: same largest frequency, to about a tenth.
    assert s4d_inv(64).imag.max() == pytest.approx(hippo_legs_diagonal(64)[0].imag.max(), rel=0.1)
