"""HiPPO-LegS and the spectra derived from it."""

from pathlib import Path

import numpy as np
import pytest

from ssm_bench.ops import hippo_legs, hippo_legs_diagonal, hippo_legs_normal, s4d_inv, s4d_lin

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


def test_s4d_spectra():
    np.testing.assert_allclose(s4d_lin(8), -0.5 + 1j * np.pi * np.arange(4))
    inverse = [8 / np.pi * (8 / (2 * k + 1) - 1) for k in range(4)]
    np.testing.assert_allclose(s4d_inv(8), -0.5 + 1j * np.array(inverse))
    # S4D-Inv was made to follow the spectrum of LegS: same largest frequency, to about a tenth.
    assert s4d_inv(64).imag.max() == pytest.approx(hippo_legs_diagonal(64)[0].imag.max(), rel=0.1)
