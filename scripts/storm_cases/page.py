"""The page docs/reliability.md, from the record of the storm."""

from collections.abc import Callable
from typing import Any

from ssm_bench.sweep.progress import duration

HEAD = """# Reliability

<!-- Written by `python scripts/storm.py --page` from results/storm.json. -->

`python scripts/storm.py` injects faults into small runs, data and commands, and checks these properties:

- A command ends with a [documented exit code](training.md#exit-codes) and at most one sentence.
- A file is complete or absent.
- A result is correct, or the command refuses to compute it.
- The record of an interrupted and resumed run equals that of an uninterrupted run, bit for bit except for times.

Any violation counts as a failure.

"""

TAIL = """## How it works

- Models are tiny (one layer of width 8, 60 steps, on the CPU, one thread per process) and save every 0.2 seconds.
  Many kills therefore happen while a checkpoint is being written. The time of a kill is drawn uniformly from the
  duration of the command. About 30 % of the signals that request a run to save and exit are followed by SIGKILL within
  half a second.
- Commands run in processes forked from a process that has loaded the libraries but has not used JAX. Kills while Python
  loads libraries are therefore not tested.
- Records are compared as JSON, without the date, the seconds and the rates. Prepared data are compared by one hash of
  the card, all arrays and all splits. One in ten damaged checkpoints is resumed to the end of its run. For the others,
  all restored arrays and the progress are compared with the saved ones.
- Inputs are drawn from flags, settings, plans, records and raw files, and from a list of unexpected values: empty
  values, numbers that are too large or not finite, control characters, bytes that are not UTF-8, and pipes or folders
  in place of files. A command that refuses its input must not change any file.
- Real file systems have the type tmpfs and 8 to 600 KB; the other full disks are limits on the size of a file. After
  the failure, the same command runs with enough space, and its result must equal that of an undisturbed command.

`python scripts/storm.py` repeats the test. `--parts kills,inputs` selects some parts, and `--seed 7` draws other cases.
The test suite runs `python scripts/storm.py --short`. Separate tests cover single cases:
`tests/data/test_integrity.py`, `tests/data/test_replacement.py`, `tests/data/test_broken_input.py`,
`tests/training/test_checkpoint.py`, `tests/project/test_command_line.py`.

The following are not covered: GPUs, several machines, network file systems, power failures (a file is complete after
its process was killed, but data that the system has not yet written to the disk may be lost), and errors in the
mathematics.
"""


def _kills(figures: dict[str, int]) -> str:
    signals = ", ".join(f"{name} {count}" for name, count in figures.items() if name.isupper())
    commands = ", ".join(
        f"{words} {figures.get(f'kills of {name}', 0)}"
        for name, words in {
            "train": "training",
            "sweep": "a sweep",
            "workers": "a sweep with two workers",
            "prepare": "preparing data",
            "table": "writing tables",
        }.items()
    )
    return (
        f"{figures['kills']} kills ({commands}; by signal: {signals}; and {figures.get('SIGKILL while leaving', 0)} "
        f"SIGKILL during the exit). {figures['comparisons']} results were compared after up to 15 kills each."
    )


def _corruptions(figures: dict[str, int]) -> str:
    def of(name: str) -> str:
        same, refused = (figures.get(f"{name}: {how}", 0) for how in ("the same bits", "refused in one sentence"))
        return (
            f"{figures[f'corruptions of {name}']} of {name} ({refused} refused with one sentence, {same} bit-identical)"
        )

    return (
        f"{figures['corruptions']} damaged files: {of('data')}, {of('checkpoints')}. If a checkpoint is damaged, the "
        "run resumes from the previous one. Bits are flipped; files are truncated, extended, zeroed in part or "
        "entirely, overwritten with noise, ones or other JSON, deleted, exchanged, or replaced by files of another "
        "run, a folder or a pipe."
    )


def _inputs(figures: dict[str, int]) -> str:
    kinds = ("command lines", "settings", "plans", "records", "raw files", "environment variables")
    told = ", ".join(f"{figures.get(kind, 0)} {kind}" for kind in kinds)
    codes = ", ".join(f"{name[10:]}: {count}" for name, count in figures.items() if name.startswith("exit code "))
    return f"{figures['inputs']} inputs ({told}); exit codes: {codes}."


def _disks(figures: dict[str, int]) -> str:
    verbs = ", ".join(f"{name[12:]} {count}" for name, count in figures.items() if name.startswith("full disks: "))
    real = figures.get("real file systems", 0)
    return (
        f"{figures['full disks']} full disks ({verbs}), {real} of them real file systems"
        f"{'' if real else ' (this user may not mount one)'}; {figures.get('refused', 0)} commands failed as expected, "
        "and the others had enough space."
    )


def _readers(figures: dict[str, int]) -> str:
    killed = figures.get("replacements that were killed", 0)
    return (
        f"Two processes opened a set {figures['sets opened meanwhile']} times while it was replaced "
        f"{figures['replacements']} times ({killed} replacements were killed). Each time, they "
        "read either the old or the new set."
    )


#: Part -> its title, and what is said of its figures.
PARTS: dict[str, tuple[str, Callable[[dict[str, int]], str]]] = {
    "kills": ("Kills", _kills),
    "corruptions": ("Damaged files", _corruptions),
    "inputs": ("Malformed inputs", _inputs),
    "disks": ("Full disks", _disks),
    "readers": ("Readers during replacement", _readers),
}


def page(record: dict[str, Any]) -> str:
    """The text of the page."""
    lines = [
        "| Part | Failures | Test | Date, commit, seed |",
        "| --- | --- | --- | --- |",
    ]
    machines: dict[str, list[str]] = {}
    for name, found in record.items():
        title, words = PARTS[name]
        revision = found["revision"]["commit"][:12] + (" with changes" if found["revision"]["dirty"] else "")
        when = f"{found['created'][:10]}, {revision}, {found['seed']}"
        lines.append(f"| {title} | {found['failures']} | {words(found['figures'])} | {when} |")
        machine, versions = found["machine"], found["versions"]
        where = (
            f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {versions['python']}, "
            f"JAX {versions['jax']}, Orbax {versions['orbax-checkpoint']}"
        )
        machines.setdefault(where, []).append(f"{title.lower()} {duration(found['seconds'])}")
    made = "".join(f"\nMeasured on {where}: {', '.join(times)}.\n" for where, times in machines.items())
    return HEAD + "\n".join(lines) + "\n" + made + "\n" + TAIL
