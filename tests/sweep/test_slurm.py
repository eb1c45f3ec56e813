"""The job script, what sbatch and squeue are asked, mistakes, and one sweep on a cluster, where SLURM is installed."""

import getpass
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssm_bench.errors import UserError
from ssm_bench.record import store
from ssm_bench.sweep import slurm
from ssm_bench.sweep.slurm import Array

SWEEP = ("sweep", "--models", "lru", "--tasks", "text", "--data", "synthetic", "--results", "my results")
SLURM = ("--engine", "slurm", "--time", "4h")


def array(**changes):
    settings = {"command": ("true",), "folder": Path("/tmp"), "name": "test", "nodes": 1, "seconds": 3600.0}
    return Array(**(settings | changes))


def executable(path, text):
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A folder of stand-ins for SLURM's commands, the first on PATH."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def started(script, tools, send=None):
    """Runs a job script as SLURM does, from its standard input, with a signal to the shell: its exit code."""
    executable(tools / "scontrol", 'echo "$@" >> "${0%/*}/requeued"')
    environment = os.environ | {"SLURM_JOB_ID": "42"}
    with subprocess.Popen(["bash", "-s"], stdin=PIPE, stdout=PIPE, text=True, env=environment) as job:
        job.stdin.write(script)
        job.stdin.close()
        if send:
            assert job.stdout.readline() == "ready\n"
            os.kill(job.pid, send)
        rest = job.stdout.read()
    return job.returncode, rest


#: Prints that it is ready, waits for a signal, and exits with its number.
WAITS = (
    "import os, signal, sys, time\n"
    "for number in (signal.SIGUSR1, signal.SIGTERM):\n"
    "    signal.signal(number, lambda number, _: (print('saved', flush=True), sys.exit(number)))\n"
    "print('ready', flush=True)\n"
    "time.sleep(1000)"
)


def test_a_task_that_is_warned_saves_and_is_requeued(tools):
    script = array(command=(sys.executable, "-c", WAITS)).script
    assert started(script, tools, signal.SIGUSR1) == (signal.SIGUSR1, "saved\n")
    assert (tools / "requeued").read_text() == "requeue 42\n"


def test_a_task_that_ends_or_is_canceled_is_not_requeued(tools):
    assert started(array(command=("bash", "-c", "exit 3")).script, tools) == (3, "")
    assert started(array(command=(sys.executable, "-c", WAITS)).script, tools, signal.SIGTERM) == (
        signal.SIGTERM,
        "saved\n",
    )
    assert started(array(folder=tools / "no such folder").script, tools) == (2, "")
    assert not (tools / "requeued").exists()


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@given(words=st.lists(TEXT, min_size=1, max_size=4))
def test_a_command_reaches_the_shell_unchanged(words):
    script = array(command=("echo", *words)).script
    (line,) = re.findall(r"^(echo .*?) &\nsweep=", script, re.M | re.S)
    assert shlex.split(line) == ["echo", *words]


@given(words=st.lists(TEXT, min_size=1, max_size=4))
def test_options_of_sbatch_reach_it_unchanged_or_are_refused(words):
    if not all(word.isprintable() for word in words):
        with pytest.raises(UserError, match="^--sbatch must be printable text in one line"):
            array(extra=tuple(words))
        return
    lines = array(extra=slurm.words("--sbatch", shlex.join(words))).script.splitlines()
    options = [shlex.split(line.removeprefix("#SBATCH ")) for line in lines if line.startswith("#SBATCH ")]
    assert options[-1] == words
    # sbatch stops reading options at the first command.
    assert [line for line in lines if line][: len(options) + 1] == ["#!/bin/bash", *lines[1 : len(options) + 1]]


def test_a_script_names_a_folder_with_spaces(tools, tmp_path):
    folder = tmp_path / "a folder's $name"
    folder.mkdir()
    assert started(array(folder=folder, command=("pwd",)).script, tools) == (0, f"{folder}\n")


def test_a_dry_run_prints_the_script_and_submits_nothing(command, tools):
    executable(tools / "sbatch", "exit 1")
    code, out, err = command(*SWEEP, *SLURM, "--nodes", "3", "--gpus-per-node", "2", "--partition", "gpu", "--dry-run")
    assert (code, err) == (0, "")
    assert out.startswith("#!/bin/bash\n#SBATCH --job-name=ssm-bench-")
    for option in ("array=1-3", "time=240:00", "gpus-per-node=2", "partition=gpu", "requeue", "signal=B:USR1@120"):
        assert f"#SBATCH --{option}\n" in out
    assert f"\n{shlex.join([sys.executable, '-m', 'ssm_bench', *SWEEP])} &\n" in out


def test_a_sweep_is_submitted_and_its_tasks_are_counted(command, tools, tmp_path):
    executable(tools / "sbatch", 'echo "$@" > "${0%/*}/asked"; cat > "${0%/*}/script"; echo "Welcome"; echo "42;main"')
    code, out, _ = command(*SWEEP, *SLURM, "--nodes", "2", "--sbatch=--account=me")
    assert code == 0 and (tools / "asked").read_text() == "--parsable\n"
    name = slurm.job_name(tmp_path / "my results")
    assert out.startswith(f"submitted job 42, named {name}: 1 cells, shared by 2 tasks of 4h; ")
    script = (tools / "script").read_text()
    assert "\n#SBATCH --account=me\n" in script and "--engine" not in script
    assert not (tmp_path / "my results").exists()

    executable(tools / "squeue", f'[[ "$*" == *--name={name}* ]] && printf "PENDING\\nRUNNING\\nRUNNING\\n"')
    code, out, _ = command(*SWEEP, "--status")
    assert code == 0
    assert out.splitlines()[1].split() == ["quick", "lru", "text", "0", "missing", "0", "%"]
    assert out.endswith(
        "1 cells: 0 done, 0 under way, 0 interrupted, 0 failed, 1 missing\n"
        "SLURM tasks that write to this folder of results: 1 pending, 2 running\n"
    )


def test_the_status_of_cells_does_not_need_an_answer_of_slurm(command, tools):
    executable(tools / "squeue", "echo no controller >&2; exit 1")
    code, out, err = command(*SWEEP, "--status")
    assert code == 0 and out.endswith("1 cells: 0 done, 0 under way, 0 interrupted, 0 failed, 1 missing\n")
    assert err == "warning: the tasks of SLURM are unknown: squeue failed with exit code 1: no controller\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--engine", "slrum"), "--engine"),
        ((*SLURM, "--nodes", ""), "--nodes takes a whole number from 1; got ''"),
        (("--nodes", "2"), "--nodes requires --engine slurm"),
        (("--sbatch=--account=me",), "--sbatch requires --engine slurm"),
        (("--engine", "slurm"), "--engine slurm requires --time, the time limit of a task, such as 4h"),
        (("--engine", "slurm", "--time", "soon"), "--time takes a time like"),
        (
            ("--engine", "slurm", "--time", "4m"),
            "--time must be at least 5m, since a task saves 2 minutes before its limit",
        ),
        ((*SLURM, "--nodes", "0"), "--nodes takes a whole number from 1; got '0'"),
        ((*SLURM, "--gpus-per-node", "all"), "--gpus-per-node takes a whole number from 1; got 'all'"),
        ((*SLURM, "--sbatch", "'"), "--sbatch takes options of sbatch as a shell does: no closing quotation"),
        ((*SLURM, "--partition", "a\nb"), "--partition must be printable text in one line; got 'a\\nb'"),
        ((*SLURM, "--deadline", "1h"), "--deadline cannot be used with --engine slurm"),
        ((*SLURM, "--budget", "1h"), "--budget cannot be used with --engine slurm"),
        ((*SLURM, "--rerun"), "--rerun cannot be used with --engine slurm"),
        ((*SLURM, "--dry-run", "--gpus", "8"), "--gpus cannot be used with --engine slurm"),
        ((*SLURM, "--jobs", "0"), "--jobs takes a whole number from 1"),
        ((*SLURM, "--models", "s55"), "s55"),
        ((*SLURM, "--status"), "--status runs nothing: leave out --engine slurm"),
        (("--dry-run", "--status"), "--status runs nothing: leave out --dry-run"),
        (("--status", "--budget", "1h"), "--status needs a known schedule, which --budget does not set"),
        (SLURM, "sbatch failed with exit code 1: no such account"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_submitted(command, tools, tmp_path, arguments, sentence):
    executable(tools / "sbatch", "echo no such account >&2; exit 1")
    code, out, err = command(*SWEEP, *arguments)
    assert (code, out) == (2, "") and sentence in err and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tools"]


def test_without_sbatch_there_is_one_sentence(command, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = command(*SWEEP, *SLURM)
    assert code == 2 and "--engine slurm requires sbatch, which was not found on PATH" in err
    assert slurm.queued("any") is None


@pytest.mark.parametrize(
    ("answer", "sentence"), [("echo hello", "sbatch printed no job id: 'hello'"), ("", "no job id")]
)
def test_an_answer_without_a_job_is_one_sentence(tools, answer, sentence):
    executable(tools / "sbatch", answer)
    with pytest.raises(UserError, match=sentence):
        slurm.submit(array())


#: Of a cluster that is one node with two processors. No daemon needs a privilege.
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
PluginDir={plugins}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""

#: Seconds that anything may take on a busy machine.
PATIENCE = 240.0


def wait_for(holds):
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.2)


def asked(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A cluster of this user alone, started and stopped here: from packages that are installed, or unpacked on PATH."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    # Debian's names end in -wlm.
    daemons = [
        shutil.which(name, path=path) or shutil.which(f"{name}-wlm", path=path)
        for name in ("slurmctld", "slurmd", "slurmstepd")
    ]
    clients = [shutil.which(name) for name in ("sbatch", "squeue", "scancel", "scontrol", "sinfo")]
    plugins = [folder for client in clients if client for folder in Path(client).parents[1].glob("lib/*/slurm*")]
    if not all([*daemons, *clients, plugins]):
        pytest.skip("SLURM is not installed: slurmctld, slurmd, slurm-client and slurm-wlm-basic-plugins of Debian")
    folder = tmp_path / "slurm"
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    text = CONFIGURATION.format(
        host=socket.gethostname().partition(".")[0],
        ports=ports,
        user=getpass.getuser(),
        plugins=plugins[0],
        folder=folder,
    )
    (folder / "slurm.conf").write_text(text)
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    # Packages that were unpacked elsewhere. In the folder of the system, Python would find libraries of another Python.
    if not plugins[0].is_relative_to("/usr"):
        found = f"{plugins[0]}:{plugins[0].parent}:{os.environ.get('LD_LIBRARY_PATH', '')}"
        monkeypatch.setenv("LD_LIBRARY_PATH", found)
    control, node, step = daemons
    started = []
    try:
        for command in ([control, "-D"], [node, "-D", "-d", step]):
            started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_for(lambda: asked("sinfo", "--noheader", "--format=%T").strip() == "idle")
        yield
    finally:
        asked("scancel", f"--user={getpass.getuser()}")
        for process in reversed(started):
            process.terminate()
            process.wait()


@pytest.mark.thorough
def test_tasks_of_a_cluster_share_the_cells_and_resume_after_a_warning(cluster, command, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    sweep = ("sweep", "--preset", "quick", "--data", "synthetic", "--models", "lru,transformer", "--tasks", "text")
    sweep += ("--jobs", "1", "--no-table", "--config.train.steps=4", "--config.train.evaluations=2")
    sweep += ("--config.model.d_model=8", "--config.model.layers=1", "--config.task.examples=100")
    code, out, _ = command(*sweep, "--engine", "slurm", "--nodes", "2", "--time", "10m")
    job = re.match("submitted job ([0-9]+),", out)[1]
    assert code == 0

    def begun():
        # A task holds a lock while it trains. The signal would end one that has not begun.
        places = [*(tmp_path / "checkpoints").rglob(".*.lock"), *(tmp_path / "results").rglob("*-s0.json")]
        return {place.parent.name for place in places} == {"lru", "transformer"}

    wait_for(begun)
    assert re.search("SLURM tasks .*: .*[12] running", command(*sweep, "--status")[1])
    asked("scancel", "--batch", "--signal=USR1", job)

    def done():
        # SLURM waits two minutes before it starts a requeued task. Between updates it needs time to start one.
        for task in asked("squeue", "--noheader", "--array", "--states=PENDING", "--format=%A").split():
            asked("scontrol", "update", f"jobid={task}", "StartTime=now")
            time.sleep(3)
        found = sorted((each.model.name, each.status) for each in store.read_all(tmp_path / "results"))
        return found == [("lru", "ok"), ("transformer", "ok")] and not asked("squeue", "--noheader", "--array")

    wait_for(done)
    logs = "".join(file.read_text() for file in tmp_path.glob(f"slurm-{job}_*.out"))
    assert "SIGUSR1: leaving" in logs
    # None was trained twice.
    for label in ("[1/2] lru text seed 0: ok, test", "[2/2] transformer text seed 0: ok, test"):
        assert logs.count(label) == 1
    assert command(*sweep, "--status")[1].endswith(
        "2 cells: 2 done, 0 under way, 0 interrupted, 0 failed, 0 missing\n"
        "SLURM tasks that write to this folder of results: none\n"
    )
