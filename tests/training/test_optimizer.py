"""Learning rates and weight decay by parameter type."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.config import base_config
from ssm_bench.network.build import roles
from ssm_bench.network.parameters import Exempt, OutputMatrix, Spectrum, StepSize
from ssm_bench.training.optimizer import make_optimizer, make_schedule

# One Adam step from zero moments moves by the rate times the sign of the gradient, up to epsilon.
FIRST_STEP = 1e-5


class Toy(nnx.Module):
    """One parameter of several roles."""

    def __init__(self):
        self.weight = nnx.Param(jnp.ones(2))
        self.bias = Exempt(jnp.ones(2))
        self.spectrum = Spectrum(jnp.ones(2))
        self.step = StepSize(jnp.ones(2))
        self.output = OutputMatrix(jnp.ones(2))
        self.statistic = nnx.BatchStat(jnp.ones(2))


def settings(**changes):
    config = base_config("text").optimizer
    config.update(lr=0.1, ssm_lr=0.01, weight_decay=0.5, schedule="constant", warmup=0.0)
    config.update(changes)
    return config


def one_step(config):
    model = Toy()
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    optimizer = make_optimizer(config, 10, roles(model))
    gradients = jax.tree.map(jnp.ones_like, params)
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    return {name: float(value[0]) for name, value in updates.items()}


def test_roles_come_from_types_and_cover_parameters_only():
    assert roles(Toy()) == {
        "weight": "weight",
        "bias": "exempt",
        "spectrum": "spectrum",
        "step": "step_size",
        "output": "output_matrix",
    }


def test_groups_set_rate_and_decay():
    updates = one_step(settings())
    # -rate * (1 + decay * value), with value 1
    expected = {"weight": -0.15, "bias": -0.1, "spectrum": -0.01, "step": -0.01, "output": -0.15}
    assert updates == pytest.approx(expected, rel=FIRST_STEP)


def test_a_warm_up_of_another_power_rises_to_the_same_peak():
    line, square = (make_schedule(settings(warmup=0.5, warmup_power=power), 40) for power in (1, 2))
    for step in (0, 7, 19, 25):
        assert float(square(step)) == pytest.approx(0.1 * (float(line(step)) / 0.1) ** 2, rel=1e-5)


def test_a_role_can_be_moved_to_another_group():
    config = settings()
    config.groups.step_size = "global+decay"
    config.groups.output_matrix = "ssm+decay"
    updates = one_step(config)
    assert updates["step"] == pytest.approx(-0.15, rel=FIRST_STEP)
    assert updates["output"] == pytest.approx(-0.015, rel=FIRST_STEP)


@pytest.mark.parametrize(
    ("kind", "middle", "end"), [("cosine", 0.05, 0.0), ("linear", 0.05, 0.0), ("constant", 0.1, 0.1)]
)
def test_schedules_rise_to_the_peak_and_fall(kind, middle, end):
    rate = make_schedule(settings(schedule=kind, warmup=0.2), 100)
    rates = np.array([float(rate(step)) for step in range(101)])
    assert 0 < rates[0] <= rates[1]
    assert rates.argmax() in range(19, 101) and rates.max() == pytest.approx(0.1)
    assert rates[60] == pytest.approx(middle, abs=1e-6)
    assert rates[100] == pytest.approx(end, abs=1e-6)


def test_rsqrt_halves_when_the_step_is_four_times_the_warm_up():
    rate = make_schedule(settings(schedule="rsqrt", warmup=0.1), 100)
    assert float(rate(10)) == pytest.approx(0.1)
    assert float(rate(40)) == pytest.approx(0.05)
