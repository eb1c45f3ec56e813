"""Steps and a run with the time axis divided among two devices; `test_divided_time` starts it."""

import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ssm_bench.cli import main
from ssm_bench.network.build import split
from ssm_bench.ops.sharding import divided
from ssm_bench.training.devices import check_parts, place, put
from ssm_bench.training.optimizer import make_optimizer
from ssm_bench.training.run import make_model
from ssm_bench.training.sources import Resident
from ssm_bench.training.step import Program

from .test_loop import config_of

#: Sums of float64 in another order, relative to the largest number.
ROUNDING = 1e-10

#: Half of the activations, and what is not divided.
MEMORY = 0.65

#: No other axis of a program has one of these sizes, or half of the length.
BATCH, LENGTH = 6, 44

#: Batch norm and masks in both directions; pooling, positions and dropout that depend on the position; neighbors of
#: short convolutions and coefficients that vary in time; complex coefficients that do.
CASES = (
    ("s5", ("--config.mixer.bidirectional=true", "--config.model.norm=batch")),
    (
        "lru",
        (
            *("--config.mixer.bidirectional=false", "--config.model.norm=layer", "--config.model.pooling=last"),
            *("--config.model.positions=learned", "--config.model.dropout=0.2", "--config.model.tie_dropout=false"),
        ),
    ),
    ("hawk", ()),
    ("hgrn", ("--config.mixer.bidirectional=false",)),
)

RUN = (
    *("train", "--model", "s5", "--task", "text", "--preset", "quick", "--data", "synthetic"),
    *("--config.train.steps=4", "--config.train.evaluations=2", "--config.model.layers=1", "--config.model.d_model=8"),
    *("--config.task.max_length=512", "--config.task.examples=100", "--config.train.lengths=2"),
)

BENCH = (
    *("bench", "segments", "--models", "lru", "--devices", "2", "--lengths", "32,64", "--repeats", "1"),
    *("--name", "segments-two", "--config.model.d_model=8", "--config.model.layers=1", "--config.mixer.state_size=4"),
)


def step_on(devices: int, model: str, overrides: tuple[str, ...]):
    """Gradients, batch statistics and metrics of a step in float64, and its compiled program."""
    sizes = (f"--config.task.max_length={LENGTH}", f"--config.train.batch_size={BATCH}", "--config.train.divide=time")
    config, dataset = config_of(*sizes, *overrides, model=model)
    network = make_model(config, dataset)
    check_parts(network, config)
    network.activations = jnp.float64
    made = split(network)
    made = made._replace(params=jax.tree.map(lambda a: a.astype(float), made.params))
    optimizer, placement = make_optimizer(config.optimizer, config.train.steps, made.roles), place(devices, "time")
    program = Program(made, optimizer, ragged=True, seed=0, placement=placement)
    data = Resident(dataset, placement).data
    # True lengths in either half, on both sides of the border between the devices, and full ones.
    lengths = np.resize([3, 21, 22, 23, LENGTH, 40], len(data["lengths"])).astype(np.int32)
    arguments = (data | {"lengths": put(lengths, placement.whole)}, program.initial_state(), np.arange(BATCH))

    def step(data, state, examples):
        with divided(placement.mesh):
            return program.gradients(data, LENGTH, state, examples)

    whole = placement.whole
    compiled = jax.jit(step, in_shardings=(whole,) * 3, out_shardings=whole).lower(*arguments).compile()
    return compiled(*arguments), compiled


def compare_steps() -> None:
    """The step of every case is that of one device; each device has a part of the activations, and gets no other."""
    with jax.enable_x64(True):
        for model, overrides in CASES:
            (expected, one), (actual, two) = (step_on(devices, model, overrides) for devices in (1, 2))
            found = re.findall(r"= \S*?\[([\d,]*)\]\S* (?:all-gather|all-to-all|collective-permute)", two.as_text())
            exchanged = [shape.split(",") for shape in found]
            assert exchanged, model
            activations = [
                shape for shape in exchanged if f"{BATCH}" in shape and {f"{LENGTH}", f"{LENGTH // 2}"} & {*shape}
            ]
            assert not activations, (model, activations)
            memory = [program.memory_analysis().temp_size_in_bytes for program in (one, two)]
            assert memory[1] <= MEMORY * memory[0], (model, memory)
            largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected[0]))
            for ours, theirs in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=ROUNDING, atol=ROUNDING * largest, err_msg=model)


def run_all(folder: Path) -> None:
    """Leaves the records of a run on one device, and of the same run and a benchmark on two that divide time."""
    for name, more in (("one", ()), ("two", ("--devices", "2", "--config.train.divide=time"))):
        outputs = ("--results", str(folder / name), "--checkpoints", str(folder / f"{name}-checkpoints"))
        assert main([*RUN, *more, *outputs]) == 0
    assert main([*BENCH, "--results", str(folder / "two")]) == 0


if __name__ == "__main__":
    compare_steps() if sys.argv[1] == "steps" else run_all(Path(sys.argv[1]))
