"""`ssm-bench data` tells people what they have."""

import os
import subprocess
import sys

import pytest

from ssm_bench import registry
from ssm_bench.errors import UserError
from tests.data import files

TASKS = registry.names("tasks")


@pytest.mark.parametrize("task", TASKS)
def test_describe_shows_the_card_and_examples(task, capsys):
    assert files.run("describe", task, "--examples-shown", "2") == 0
    shown = capsys.readouterr().out
    assert "synthetic" in shown
    assert "train: 2,000 examples" in shown
    assert shown.count("\nexample ") == 2


def test_list_names_what_is_prepared_and_found(raw_folder, capsys):
    files.listops(raw_folder / "listops-1000")
    assert files.run("list") == 0
    shown = capsys.readouterr().out
    assert "nothing" in shown
    assert "basic_train.tsv" in shown
    assert files.run("prepare", "listops") == 0
    capsys.readouterr()
    assert files.run("list") == 0
    assert "listops-words-official" in capsys.readouterr().out


def test_half_of_a_source_is_told_with_what_it_lacks(raw_folder, capsys):
    (raw_folder / "mine").mkdir()
    (raw_folder / "mine" / "aan_docs.jsonl.xz").touch()
    lacks = f"{raw_folder / 'mine'} lacks aan_pairs.npz next to aan_docs.jsonl.xz; "
    assert files.run("list") == 0
    assert f"nothing found: {lacks}unpack" in capsys.readouterr().out
    with pytest.raises(UserError, match="the files of retrieval are incomplete") as error:
        files.run("prepare", "retrieval")
    assert lacks in str(error.value)


def test_describe_real_examples_as_text(raw_folder, capsys):
    files.listops(raw_folder)
    assert files.run("describe", "listops", "--examples-shown", "1") == 0
    assert "[SM 0 7 5 ]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["prepare", "lisstops"], "listops"),
        (["prepare", "listops", "pathh"], "pathx"),
        (["prepare", "retrieval"], "lra_release.gz"),
        (["prepare", "text", "--tokens", "words"], "characters"),
        (["prepare", "text", "--workers", "-1"], "-1"),
        (["describe", "text", "--examples-shown", "-1"], "-1"),
        (["verify"], "nothing to verify"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(arguments, told):
    with pytest.raises(UserError, match=told) as error:
        files.run(*arguments)
    assert "\n" not in str(error.value)


def test_data_and_tasks_do_not_import_jax():
    code = (
        "import sys; from ssm_bench import registry; from ssm_bench.data import load;"
        "[load(name, data='synthetic', max_length=64) for name in registry.names('tasks')];"
        "sys.exit('jax' in sys.modules or 'tensorflow_datasets' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0
