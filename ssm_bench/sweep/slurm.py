"""The SLURM engine: an array job whose tasks all run the same sweep.

The tasks share the cells like all processes with the same folders: a process locks the cell that it trains, and records
show which cells are left. SLURM only starts the tasks, signals them before their time limit, and requeues them.
"""

import hashlib
import re
import shlex
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ssm_bench.errors import UserError

#: Seconds before the time limit at which SLURM signals a task to save. SLURM may be up to a minute early.
WARNING = 120

#: Seconds: with a shorter time limit, a task would be signaled while it loads its libraries.
SHORTEST = 300

#: Timeout of SLURM's commands in seconds.
PATIENCE = 60


@dataclass(frozen=True, kw_only=True)
class Array:
    """An array job.

    Attributes:
        command: the command of each task.
        folder: the working directory of each task.
        name: the name of the job.
        nodes: the number of tasks, each on one node.
        seconds: time limit of a task.
        partition: the partition; empty: SLURM's default.
        gpus_per_node: GPUs per task; 0: none are requested.
        extra: further options of sbatch, which take precedence.
    """

    command: tuple[str, ...]
    folder: Path
    name: str
    nodes: int
    seconds: float
    partition: str = ""
    gpus_per_node: int = 0
    extra: tuple[str, ...] = ()

    def __post_init__(self):
        """Checks the options.

        Raises:
            UserError: the time is too short, or an option contains a line break.
        """
        if self.seconds < SHORTEST:
            raise UserError(
                f"--time must be at least {SHORTEST // 60}m, since a task saves {WARNING // 60} minutes before its "
                f"limit; got {self.seconds:g} s"
            )
        for flag, words in (("--partition", (self.partition,)), ("--sbatch", self.extra)):
            if found := next((word for word in words if not word.isprintable()), ""):
                raise UserError(f"{flag} must be printable text in one line; got {found!r}")

    @property
    def script(self) -> str:
        """The job script."""
        minutes, seconds = divmod(int(self.seconds), 60)
        options = [
            f"--job-name={self.name}",
            f"--array=1-{self.nodes}",
            "--nodes=1",
            "--ntasks=1",
            f"--time={minutes}:{seconds:02}",
            f"--signal=B:USR1@{WARNING}",
            "--requeue",
            "--open-mode=append",
            *([f"--partition={self.partition}"] if self.partition else []),
            *([f"--gpus-per-node={self.gpus_per_node}"] if self.gpus_per_node else []),
        ]
        lines = [f"#SBATCH {shlex.quote(option)}" for option in options]
        # On one line, since the value of an option may be a word of its own.
        lines += [f"#SBATCH {shlex.join(self.extra)}"] if self.extra else []
        return SCRIPT.format(
            options="\n".join(lines), folder=shlex.quote(str(self.folder)), command=shlex.join(self.command)
        )


SCRIPT = """\
#!/bin/bash
{options}

# All tasks of this array run the same sweep. Locks and records on the shared file system divide its cells among them.
cd -- {folder} || exit 2

# SLURM warns this shell before the time limit: the sweep saves, and this task is queued again.
# A task that ends without a warning has nothing left to do.
warned=
trap 'warned=yes; kill -USR1 "$sweep" 2> /dev/null' USR1
# `scancel` ends the sweep, which saves, and is not queued again.
trap 'kill -TERM "$sweep" 2> /dev/null' TERM

{command} &
sweep=$!
# A signal interrupts `wait`.
while
  wait "$sweep"
  code=$?
  kill -0 "$sweep" 2> /dev/null
do :; done

if [ -n "$warned" ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def job_name(results: Path) -> str:
    """The name of all jobs that write to a folder of results."""
    return f"ssm-bench-{hashlib.sha256(str(results.resolve()).encode()).hexdigest()[:8]}"


def words(flag: str, text: str) -> tuple[str, ...]:
    """The words of a command line.

    Raises:
        UserError: a quotation mark that is not closed.
    """
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UserError(f"{flag} takes options of sbatch as a shell does: {str(error).lower()} in {text!r}") from None


def submit(array: Array) -> str:
    """Submits an array job and returns its id.

    Raises:
        UserError: there is no sbatch, or it refuses the job.
    """
    if not shutil.which("sbatch"):
        raise UserError(
            "--engine slurm requires sbatch, which was not found on PATH: run the command on a machine with SLURM, "
            "or use --dry-run to print the script"
        )
    answer = _ask("sbatch", "--parsable", script=array.script)
    # "42" or, with several clusters, "42;cluster"; a site may print a greeting first.
    if not (found := re.search(r"^([0-9]+)(;\S+)?$", answer, re.M)):
        raise UserError(f"sbatch printed no job id: {answer.strip()!r}")
    return found[1]


def queued(name: str) -> dict[str, int] | None:
    """The number of this user's tasks of a job in each state, such as {"RUNNING": 2}; None without SLURM.

    Raises:
        UserError: squeue fails.
    """
    if not shutil.which("squeue"):
        return None
    return dict(Counter(_ask("squeue", "--me", "--noheader", "--array", f"--name={name}", "--format=%T").split()))


def _ask(*command: str, script: str = "") -> str:
    """The output of a command of SLURM.

    Raises:
        UserError: it fails, or does not answer in time.
    """
    try:
        ended = subprocess.run(command, input=script, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(f"{command[0]} did not answer within {PATIENCE} s") from None
    except OSError as error:
        raise UserError(f"{command[0]} does not run: {error.strerror}") from None
    if ended.returncode:
        reason = " ".join((ended.stderr or ended.stdout).split())[:300]
        raise UserError(f"{command[0]} failed with exit code {ended.returncode}: {reason or 'no message'}")
    return ended.stdout
