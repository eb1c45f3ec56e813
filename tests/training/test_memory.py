"""Sizes that no machine has are refused in one sentence, before anything is allocated, traced for long or compiled."""

import re
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ssm_bench.config import experiment_names
from ssm_bench.data import spec
from ssm_bench.errors import UserError
from ssm_bench.sweep.recipe import resolve
from ssm_bench.training import memory
from ssm_bench.training.memory import LARGEST_SIZE, amount, check_memory, size_settings

TASK = "image"

#: The first model of each mixer and of each scaffold: the others take the same options.
MODELS = sorted(
    {
        (section, config.model[section]): name
        for name, section in product(reversed(experiment_names()), ("mixer", "scaffold"))
        for config in [resolve(name, TASK)]
    }.items()
)
OPTIONS = [
    (name, option)
    for (section, _), name in MODELS
    for option in size_settings(resolve(name, TASK))
    if option.startswith(section) or (name == "s5" and option.startswith("model"))
]


def check(name, *changes):
    config = resolve(name, TASK, overrides=[f"--config.{change}" for change in changes])
    check_memory(config, spec(TASK), vocab_size=256)


# Each example is traced.
@settings(max_examples=10)
@example(option=("h3", "mixer.shift_size"), size=2049)
@given(st.sampled_from(OPTIONS), st.integers(2000, LARGEST_SIZE) | st.sampled_from([10**5, LARGEST_SIZE]))
def test_any_size_is_refused_in_one_sentence_or_harmless(option, size):
    name, setting = option
    try:
        check(name, f"{setting}={size}")
    except UserError as error:
        assert re.search(r"\d", str(error)) and "\n" not in str(error)
        assert setting.rpartition(".")[2] in str(error)


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_an_absurd_size_is_refused_at_once(name, option, monkeypatch):
    monkeypatch.setattr(memory, "build", None)
    for size in (LARGEST_SIZE + 1, 10**9, 2**31, 10**20):
        with pytest.raises(UserError, match=rf"^{option} [^\n]* (at most [0-9]+|lie in .*); got {size}$"):
            check(name, f"{option}={size}")


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        (
            "linear_rnn",
            ["mixer.state_size=1000000000"],
            r"^mixer.state_size must be at most 16777216; got",
        ),
        ("linear_rnn", ["mixer.state_size=200000"], r"^--config.mixer.state_size=200000: parameters, .* need .* TB of"),
        ("transformer", ["model.d_model=1048576"], r"^--config.model.d_model=1048576: activations need"),
        ("transformer", ["model.d_model=16777216"], r"^--config.model.d_model=16777216: parameters, "),
        (
            "lru",
            ["mixer.state_size=320000"],
            r"^--config.mixer.state_size=320000: activations need 65.5 GB of memory, and there are 64 GB$",
        ),
        ("nystromformer", ["mixer.inverse_steps=2147483647"], r"^mixer.inverse_steps must "),
        (
            "nystromformer",
            ["mixer.inverse_steps=2147483648"],
            r"at most 2147483647; got 2147483648",
        ),
        ("s4", ["mixer.state_size=65536"], r"at most 4096 states, .*; state_size gives 65536"),
    ],
)
def test_the_sentence_names_the_setting_and_the_memory(name, changes, sentence, monkeypatch):
    monkeypatch.setattr(memory, "device_memory", lambda: 64 * 10**9)
    with pytest.raises(UserError, match=sentence):
        check(name, *changes)


@pytest.mark.parametrize("name", experiment_names())
def test_published_sizes_fit_into_the_memory_of_a_device(name, monkeypatch):
    """Also where they are estimated: on every task, in 16 GB."""
    monkeypatch.setattr(memory, "device_memory", lambda: 16 * 10**9)
    monkeypatch.setattr(memory, "USUAL_SIZE", 0)
    # Further blocks are estimated from this one.
    monkeypatch.setattr(memory, "_TRACED_LAYERS", 1)
    check(name)


def test_usual_sizes_are_not_traced(monkeypatch):
    monkeypatch.setattr(memory, "build", None)
    for name in experiment_names():
        check(name)


def test_amounts_are_readable():
    assert [amount(size) for size in (0, 999, 4_096, 8.5e9, 4e24)] == ["0 B", "999 B", "4.1 kB", "8.5 GB", "4e+06 EB"]
