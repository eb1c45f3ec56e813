"""Analyses against numbers that are known, and the verb from its flags to its files."""

import jax
import numpy as np
import pandas as pd
import pytest
from flax import nnx
from numpy.polynomial.laguerre import lagvander

from ssm_bench.analysis import hippo, views
from ssm_bench.analysis.damping import damping
from ssm_bench.analysis.memory import distances, effective_length, gradients
from ssm_bench.analysis.spectrum import describe, time_constants
from ssm_bench.cli import main
from ssm_bench.mixers.lru import LRU
from ssm_bench.mixers.lssl import LSSL
from ssm_bench.mixers.rg_lru import RGLRU
from ssm_bench.mixers.s4 import S4
from ssm_bench.mixers.s4d import S4D
from ssm_bench.mixers.s5 import S5
from ssm_bench.mixers.s6 import S6
from ssm_bench.ops import hippo_lagt
from ssm_bench.report.check import problems

# Parameters and results are float32.
FLOAT32 = 2e-6


def inputs(width, length=5):
    return jax.random.normal(jax.random.key(1), (2, length, width))


def values(mixer, width=4):
    return np.asarray(mixer.eigenvalues(inputs(width)))


def test_lru_has_the_eigenvalues_of_its_parametrization():
    mixer = LRU(4, state_size=6, rngs=nnx.Rngs(0))
    nu, theta = np.asarray(mixer.nu[...], float), np.asarray(mixer.theta[...], float)
    np.testing.assert_allclose(values(mixer), np.exp(-np.exp(nu) + 1j * np.exp(theta)), atol=FLOAT32)


def test_s5_has_the_exponentials_of_lambda_dt_and_their_conjugates():
    mixer = S5(4, state_size=6, rngs=nnx.Rngs(0))
    Lambda = np.asarray(mixer.lambda_real[...], float) + 1j * np.asarray(mixer.lambda_imag[...], float)
    half = np.exp(Lambda * np.exp(np.asarray(mixer.log_dt[...], float)))
    np.testing.assert_allclose(values(mixer), [*half, *half.conj()], atol=FLOAT32)


def test_s4_has_those_of_the_bilinear_rule_for_the_integers():
    # HiPPO-LegS has the eigenvalues -1, -2, ..., -n.
    mixer = S4(3, state_size=6, rngs=nnx.Rngs(0))
    step = np.exp(np.asarray(mixer.log_dt[...], float))[:, None] * np.arange(1, 7) / 2
    found = np.sort(values(mixer, 3).real, axis=1)[:, ::-1]
    np.testing.assert_allclose(found, (1 - step) / (1 + step), atol=1e-4)


def test_s4d_has_those_of_its_own_recurrence():
    mixer = S4D(3, state_size=4, init="lin", bidirectional=False, rngs=nnx.Rngs(0))
    dt = np.exp(np.asarray(mixer.log_dt[...], float))[:, None]
    half = np.exp(dt * (-0.5 + 1j * np.pi * np.arange(2)))
    np.testing.assert_allclose(values(mixer, 3), np.concatenate([half, half.conj()], 1), atol=FLOAT32)


@pytest.mark.parametrize("complex_states", [False, True])
def test_s6_has_those_that_carry_its_state(complex_states):
    mixer = S6(4, state_size=2, complex_states=complex_states, rngs=nnx.Rngs(0))
    x = inputs(4)
    transitions = values(mixer)[:, 0]
    # With a tiny input that gives the same step size, what is left of a state is its transition.
    cell = mixer.forward
    state = 1e6 * np.ones_like(cell.initial_state(2))
    after = np.asarray(cell.extend(x[:, :1], state)[1])
    np.testing.assert_allclose(transitions[..., : after.shape[-1]], after / 1e6, atol=1e-5)


def test_rg_lru_has_those_that_carry_its_state():
    mixer = RGLRU(4, rngs=nnx.Rngs(0))
    state = {"h": 1e6 * np.ones((2, 4), np.float32), "fresh": np.zeros(2, bool)}
    after = np.asarray(mixer.extend(inputs(4)[:, :1], state)[1]["h"])
    np.testing.assert_allclose(values(mixer)[:, 0], after / 1e6, atol=1e-5)


def test_shares_and_time_constants():
    np.testing.assert_allclose(time_constants(np.array([0, np.exp(-0.1), 1, 1.1])), [0, 10, np.inf, np.inf])
    found = describe(np.array([0.5, 0.995, -0.995j, 1.0, 1.2]))
    assert (found["inside"], found["close"], found["eigenvalues"]) == (0.6, 0.4, 5)


class Leaky(nnx.Module):
    """h_t = A h_{t-1} + x_t with a full matrix A: the gradient by the input k steps back is A^k."""

    A = np.array([[0.9, 0.2], [0.0, 0.5]], np.float32)

    def __call__(self, x, mask):
        def step(h, x_t):
            h = h @ self.A.T + x_t
            return h, h

        return jax.numpy.moveaxis(jax.lax.scan(step, 0 * x[:, 0], jax.numpy.moveaxis(x, 1, 0))[1], 0, 1)


def test_memory_of_a_known_recurrence():
    # Random signs estimate the norm: of two channels and 512 sequences within a few percent.
    x = jax.numpy.zeros((512, 12, 2))
    found = gradients(Leaky(), x, {}, key=jax.random.key(0))
    powers = [np.linalg.norm(np.linalg.matrix_power(Leaky.A.astype(float), k)) for k in range(12)]
    np.testing.assert_allclose(found, powers, rtol=0.05)


def test_effective_length_holds_nine_tenths():
    assert effective_length(0.5 ** np.arange(30.0)) == 3  # 1 - 0.5^4 = 0.94, and 1 - 0.5^3 = 0.875
    assert effective_length(np.ones(10)) == 8
    assert effective_length(np.array([2.0])) == 0


@pytest.mark.parametrize("length", [1, 20, 1024])
def test_distances_are_increasing_and_reach_the_end(length):
    found = distances(length)
    assert (np.diff(found) > 0).all() and found[0] == 0 and found[-1] == length - 1


def test_states_of_higher_order_recall_more():
    u = hippo.signal(0)[::4]

    def error(name, order):
        return np.linalg.norm(hippo.recall(name, order, u) - u) / np.linalg.norm(u)

    for name in hippo.NAMES:
        assert error(name, 48) < 0.5 * error(name, 16) < error(name, 2)


def test_laguerre_states_are_integrals_of_the_signal():
    # State i is the integral of u times L_i(tau) exp(-tau / 2), by the trapezoid rule.
    tau = np.linspace(0, hippo.REACH, 20001)
    basis = lagvander(tau, 5) * np.exp(-tau / 2)[:, None]
    wanted = np.trapezoid(basis * np.sin(tau)[:, None], tau, axis=0)
    middle = hippo.REACH * (1 - (np.arange(4000) + 0.5) / 4000)
    found = hippo._state(*hippo_lagt(6), np.sin(middle), hippo.REACH / 4000)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_damping_decides_what_is_left_of_the_first_token():
    curves, eigenvalues = damping()
    for (name, ratio), roots in eigenvalues.groupby(["system", "damping"]):
        # The roots of m s^2 + c s + k, as exp(s dt).
        exact = np.exp(np.roots([1, 2 * ratio, 1]).astype(complex) * 0.25)
        np.testing.assert_allclose(np.sort(roots["modulus"]), np.sort(abs(exact)), rtol=1e-9)
        distance = curves.loc[curves["system"] == name, "distance"].to_numpy()
        kept = distance[-1] / distance[0]
        assert kept > 1 if ratio < 0 else kept < 1e-6 if ratio > 1 else 0.1 < kept < 1


def test_the_three_views_of_a_linear_system_are_one_function():
    _, differences = views.views()
    # Sums of at most 1,024 terms in float64, and Runge-Kutta of order 4 with 32 steps a step.
    assert differences["convolutional"].max() < 1e-12
    assert differences["recurrent"].iloc[-1] < 1e-9 and differences["recurrent"].max() < 1e-4
    # The bilinear rule is of the second order: half the step, a quarter of the difference.
    ratio = differences["bilinear"].to_numpy()[:-1] / differences["bilinear"].to_numpy()[1:]
    assert 3.5 < ratio[-1] < 4.5


def test_the_lssl_is_the_bilinear_view():
    mixer = LSSL(2, state_size=8, bidirectional=False, rngs=nnx.Rngs(0))
    u = np.random.default_rng(0).normal(size=40)
    A, B, dt = (np.asarray(part, float) for part in mixer._system())
    C, D = np.asarray(mixer.C[...], float), np.asarray(mixer.D[...], float)
    y = jax.jit(mixer)(jax.numpy.asarray(np.stack([u, u], -1)[None], "float32"))[0]
    for channel in range(2):
        discrete = views.bilinear(A, B, dt[channel])
        for view in (views.recurrent, views.convolutional):
            wanted = view(*discrete, C[0, channel], u) + D[channel] * u
            np.testing.assert_allclose(y[:, channel], wanted, rtol=1e-4, atol=1e-4)


SIZES = ["--task", "text", "--preset", "quick", "--sequences", "2", "--length", "64", "--config.model.layers=1"]


def analyze(*arguments, folder):
    return main(["analyze", *arguments, "--results", str(folder)])


def of_analysis(folder):
    return [sentence for sentence in problems(folder)[2] if "analy" in sentence]


def test_spectrum_writes_a_figure_and_its_tables(tmp_path, capsys):
    assert analyze("spectrum", "--model", "lru,s6", *SIZES, folder=tmp_path) == 0
    assert "LRU, layer 0" in capsys.readouterr().out
    folder = tmp_path / "analysis"
    points, summary = (pd.read_csv(folder / f"spectrum{suffix}.csv") for suffix in ("", "-summary"))
    assert list(summary["model"]) == list(dict.fromkeys(points["model"]))
    assert (summary["inside"] == 1).all() and np.hypot(points["real"], points["imaginary"]).max() <= 1
    assert (folder / "spectrum.svg").read_text().startswith("<?xml")
    assert not of_analysis(tmp_path)
    # Verification sees another byte, and a stranger.
    (folder / "spectrum.csv").write_text("model\n")
    (folder / "old.csv").write_text("model\n")
    assert len(of_analysis(tmp_path)) == 2


def test_memory_writes_a_figure_and_its_tables(tmp_path, capsys):
    assert analyze("memory", "--model", "lru", "--part", "block", *SIZES, folder=tmp_path) == 0
    assert "effective memory length" in capsys.readouterr().out
    curves, summary = (pd.read_csv(tmp_path / f"analysis/memory{suffix}.csv") for suffix in ("", "-summary"))
    assert (curves["gradient"] >= 0).all() and curves["back"].max() == summary["length"][0] - 1
    assert not of_analysis(tmp_path)


def test_hippo_writes_a_figure_and_its_tables(tmp_path, capsys):
    assert analyze("hippo", folder=tmp_path) == 0
    assert "LegS: relative error" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "analysis/hippo-summary.csv")) == len(hippo.NAMES) * len(hippo.ORDERS)
    assert not of_analysis(tmp_path)


def test_views_writes_a_figure_and_its_tables(tmp_path, capsys):
    assert analyze("views", folder=tmp_path) == 0
    assert "1,024 steps: recurrence and differential equation differ by" in capsys.readouterr().out
    assert not of_analysis(tmp_path)


def test_damping_writes_a_figure_and_its_tables(tmp_path, capsys):
    assert analyze("damping", folder=tmp_path) == 0
    assert "negative damping: largest" in capsys.readouterr().out
    assert not of_analysis(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["spectra", "--model", "s5"], "unknown analyze 'spectra'"),
        (["spectrum"], "analyze spectrum takes --model, like s4,s5, or --run"),
        (["spectrum", "--model", "s55"], "'s55'"),
        (["spectrum", "--model", "lru,lru"], "--model must not repeat a value"),
        (["spectrum", "--model", "lru", "--length", "0"], "--length takes a whole number from 1; got '0'"),
        (["spectrum", "--model", "lru", "--seed", "-1"], "--seed takes a whole number from 0; got -1"),
        (["spectrum", "--model", "lru", "--part", "block"], "analyze spectrum takes no --part; it is for memory"),
        (["memory", "--model", "lru", "--part", "layer"], "unknown --part 'layer'"),
        (["hippo", "--model", "s4"], "analyze hippo takes no --model; it is for spectrum, memory"),
        (["spectrum", "--run", "nowhere.json"], "nowhere.json"),
        (["spectrum", "--model", "transformer", *SIZES], "Attention defines no eigenvalues, so transformer has no"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(arguments, sentence, tmp_path, capsys):
    assert analyze(*arguments, folder=tmp_path) == 2
    error = capsys.readouterr().err
    assert sentence in error and len([line for line in error.splitlines() if "error" in line]) <= 1
    assert not list(tmp_path.rglob("*.*"))


def test_a_trained_model_is_analyzed_by_its_record(tmp_path, capsys):
    sizes = [
        "--config.train.steps=2",
        "--config.train.evaluations=1",
        "--config.task.examples=64",
        "--config.model.layers=1",
    ]
    train = ["train", "--model", "lru", "--task", "text", "--preset", "quick", "--data", "synthetic", *sizes]
    folders = ["--results", str(tmp_path), "--checkpoints", str(tmp_path / "checkpoints")]
    assert main([*train, *folders]) == 0
    (record,) = tmp_path.glob("runs/*/*/*/*.json")
    run = ["--run", str(record), "--checkpoints", str(tmp_path / "checkpoints")]
    assert analyze("spectrum", *run, "--length", "32", folder=tmp_path) == 0
    assert "LRU, trained, layer 0" in capsys.readouterr().out
    summary = pd.read_csv(tmp_path / "analysis/spectrum-summary.csv")
    assert list(summary["records"]) == [record.relative_to(tmp_path).as_posix()]
