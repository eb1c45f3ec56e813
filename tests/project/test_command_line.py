"""Every verb explains itself, and a mistake is one sentence with exit code 2."""

import errno
import importlib
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ssm_bench
from ssm_bench.cli import main, verbs
from ssm_bench.cli._failures import _AGAIN, report
from ssm_bench.cli._options import TOY_COMPILER, prepare_jax
from ssm_bench.cli._options import _check_platform as check_platform
from ssm_bench.config import experiment_names
from ssm_bench.errors import UserError, printable

ROOT = Path(__file__).parents[2]


class Interrupted:
    """Gets a Ctrl-C in a callback of the interpreter, which ignores exceptions."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_in_a_callback_of_the_interpreter_is_not_lost(monkeypatch, capsys):
    def run(options):
        Interrupted()
        time.sleep(60)

    monkeypatch.setattr(importlib.import_module("ssm_bench.cli.verify"), "run", run)
    hook = sys.unraisablehook
    assert main(["verify"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert sys.unraisablehook is hook


def test_an_interrupt_in_a_callback_at_the_end_of_a_command_does_no_harm(monkeypatch, capsys):
    monkeypatch.setattr(importlib.import_module("ssm_bench.cli.verify"), "run", lambda options: Interrupted() and 0)
    assert main(["verify"]) == 0
    time.sleep(2 * _AGAIN)
    assert capsys.readouterr().err == ""


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
        (["table", "--color=red"], "--color=red"),
        (["--verbose", "table"], "--verbose"),
        (["train", "--model=s5", "--task=text", "--share=--"], "--share takes a value; got '--'"),
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


def run(*arguments, shell="", **environment):
    """Exit code, stdout and stderr of the command in a process of its own, after a line of shell."""
    command = f"{shell}\nexec {shlex.join([sys.executable, '-m', 'ssm_bench', *arguments])}"
    environment = {k: v for k, v in (os.environ | {"PYTHONPATH": str(ROOT)} | environment).items() if v is not None}
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, timeout=300)
    return ended.returncode, ended.stdout, ended.stderr


TRAIN = ("train", "--model", "lru", "--task", "text", "--preset", "quick", "--data", "synthetic")


@pytest.mark.parametrize(
    ("arguments", "shell", "environment", "code", "sentence"),
    [
        (("list",), "exec >/dev/full", {}, 1, r"error: No space left on device; details in .*ssm-bench-.*\.log"),
        (("list",), "cd $(mktemp -d) && rmdir $PWD", {}, 2, "error: the working directory has been deleted.*"),
        (TRAIN, "ulimit -n 16", {}, 2, "error: training needs 256 open files, and the limit is 16: .*"),
        (TRAIN, "", {"JAX_PLATFORMS": "nonsense"}, 2, "error: JAX_PLATFORMS=nonsense: .*nable to initialize.*"),
    ],
    ids=["full disk", "deleted folder", "open files", "platform"],
)
def test_a_failing_system_is_one_sentence(arguments, shell, environment, code, sentence, tmp_path):
    ended = run(*arguments, shell=shell, TMPDIR=str(tmp_path), **environment)
    assert ended[:2] == (code, "")
    assert re.fullmatch(sentence + "\n", ended[2]), ended[2]


def test_a_closed_pipe_is_silent():
    # The reader is gone before the command writes.
    assert run("list", shell="exec > >(:); sleep 0.2") == (0, "", "")


def test_a_gpu_without_its_plugin_is_refused_by_how_to_install_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [])
    for platforms in ("cuda", "gpu,cpu"):
        with pytest.raises(UserError, match=f"^JAX_PLATFORMS={platforms} needs .* `make setup EXTRAS=cuda13`"):
            check_platform(platforms)
    check_platform("")
    check_platform("cpu,tpu")


def test_a_user_without_a_home_needs_the_cache_alone(tmp_path):
    """As a user id without an entry in the password file and without HOME."""
    script = tmp_path / "homeless.py"
    script.write_text(
        "import os, pwd, sys\n"
        "def getpwuid(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = getpwuid\n"
        "for name in ('HOME', 'JAX_COMPILATION_CACHE_DIR', 'USER', 'LOGNAME'): os.environ.pop(name, None)\n"
        "from ssm_bench.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    small = ("--config.train.steps=4", "--config.train.evaluations=1", "--config.model.layers=1")
    command = [sys.executable, str(script), *TRAIN, *small]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SSM_BENCH_CACHE": str(tmp_path / "cache")}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert "ok, test" in ended.stdout


@given(st.text(), st.sampled_from([RuntimeError, KeyError, OSError, UserError, ValueError, RecursionError]))
def test_any_failure_is_one_line_without_control_characters(text, kind):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(tempfile, "tempdir", folder)
        patch.setattr(sys, "stderr", io.StringIO())
        code = report(kind(text))
        said = sys.stderr.getvalue()
        logs = list(Path(folder).iterdir())
        assert [kind.__name__ in log.read_text() for log in logs] == [True] * (code == 1)
    assert said.count("\n") == 1 and said == printable(said)
    assert code == (2 if kind is UserError or "home directory" in text or "nable to initialize" in text else 1)


def test_a_traceback_is_printed_when_asked_for(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("ssm_bench.cli._run", lambda arguments: 1 // 0)
    monkeypatch.setenv("SSM_BENCH_DEBUG", "1")
    assert main(["list"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said and "1 // 0" in said
    assert said.endswith("\ninternal error: ZeroDivisionError: integer division or modulo by zero\n")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("SSM_BENCH_DEBUG", "0")
    assert main(["list"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    (log,) = tmp_path.iterdir()
    assert "1 // 0" in log.read_text()


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "a/lock"), 2, "error: Is a directory: a/lock\n"),
        (RuntimeError("Could not determine home directory."), 2, "error: this user has no home directory: .*CACHE.*\n"),
    ],
)
def test_what_the_user_can_change_is_no_internal_error(error, code, sentence, capsys):
    assert report(error) == code
    assert re.fullmatch(sentence, capsys.readouterr().err)


def test_an_experiment_runs_from_any_folder(tmp_path):
    """Also with a package that was installed without a checkout."""
    shutil.copytree(ROOT / "ssm_bench", tmp_path / "site" / "ssm_bench", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, str(ROOT / "experiments" / "s5.py"), "--task", "text", "--show-config"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert "mixer: s5" in ended.stdout


def test_a_folder_of_experiments_may_be_in_the_home(tmp_path, monkeypatch):
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "mine.py").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSM_BENCH_EXPERIMENTS", "~/exp")
    assert experiment_names() == ("mine",)


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.split() == ["ssm-bench", ssm_bench.__version__]


@pytest.mark.parametrize(
    ("preset", "flags", "then"),
    [
        ("budget", "--xla_dump_to=x", "--xla_dump_to=x"),
        ("quick", "--xla_dump_to=x", f"--xla_dump_to=x {TOY_COMPILER}"),
        ("quick", "--xla_backend_optimization_level=3", "--xla_backend_optimization_level=3"),
    ],
)
def test_toy_programs_are_compiled_with_less_effort_unless_the_user_says_otherwise(preset, flags, then, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", flags)
    prepare_jax(preset)
    assert os.environ["XLA_FLAGS"] == then
