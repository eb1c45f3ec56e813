"""Every verb explains itself, and a mistake is one sentence with exit code 2."""

import importlib
import os

import pytest

import ssm_bench
from ssm_bench.cli import main, verbs
from ssm_bench.cli._options import prepare_jax


@pytest.mark.parametrize("verb", verbs())
def test_help_of_a_verb_has_an_example(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([verb, "--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    assert "example" in text.lower()
    assert f"ssm-bench {verb}" in text.partition("example")[2]
    assert importlib.import_module(f"ssm_bench.cli.{verb}").HELP in " ".join(text.split())


def test_help_lists_every_verb(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    assert verbs() and all(verb in text for verb in verbs())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["tablet"], "tablet"),
        ([], "VERB"),
        (["table", "--colour=red"], "--colour=red"),
        (["--verbose", "table"], "--verbose"),
        (["train", "--model", "s5", "--task", "text", "--preset", "budget", "--share", "0"], "(0, 1]; got 0"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, named, capsys):
    assert main(arguments) == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.startswith("error: ")
    assert named in seen.err
    assert seen.err.count("\n") == 1


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.split() == ["ssm-bench", ssm_bench.__version__]


@pytest.mark.parametrize(
    ("preset", "flags", "then"),
    [
        ("budget", "--xla_dump_to=x", "--xla_dump_to=x"),
        ("quick", "--xla_dump_to=x", "--xla_dump_to=x --xla_backend_optimization_level=1"),
        ("quick", "--xla_backend_optimization_level=3", "--xla_backend_optimization_level=3"),
    ],
)
def test_toy_programs_are_compiled_with_less_effort_unless_the_user_says_otherwise(preset, flags, then, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", flags)
    prepare_jax(preset)
    assert os.environ["XLA_FLAGS"] == then
