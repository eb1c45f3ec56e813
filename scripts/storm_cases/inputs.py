"""Malformed inputs: command lines, settings, plans, records, raw files and environment variables.

A case is a function of a seed that writes its input into a folder and returns the command. Whatever the input, the
command ends with a documented exit code and at most one sentence, and where it refuses it leaves no file behind.
"""

import argparse
import importlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssm_bench.config import get_config, leaves
from ssm_bench.data import spec
from storm_cases import raw
from storm_cases.damage import DAMAGES, damage
from storm_cases.process import fault, start
from storm_cases.runs import CELLS, TINY, files_below, training

Rng = np.random.Generator

#: Values that no flag expects. Paths stay within the working directory of the case, where "file", "folder" and "pipe"
#: are what they are called. The last ones are not UTF-8, too long for a name, and digits of other scripts.
ABSURD = (
    *("", " ", "-1", "0", "1.5", "nan", "inf", "-inf", "1e400", "9" * 25, "9" * 5000, "0x10", "1_0"),
    *("None", "[]", "{}", "null", "2147483648", "-2147483649", ",", "a,,a", "a,a"),
    *("folder/..", "file", "file/inside", "folder", "pipe", "missing/deep", "page.md", "pipe.md"),
    *("\x1b[31mred", "[/red]", "\u202eright", "a\nb", "a\x07", "--", "-", "=", "%s%n", "${HOME}", "~no-such-user/x"),
    *("é", os.fsdecode(b"caf\xe9"), "x" * 300, "x" * 5000, "٣", "１"),
)

#: Verbs with arguments that make them work, or fail early where they would take long.
BASES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("train",): (*training("gru", "text")[1:], "--deadline", "1s"),
    ("eval",): ("--model", "gru", "--task", "text", "--preset", "quick", *TINY),
    ("sweep",): ("--models", "gru", "--tasks", "text", "--jobs", "1", "--deadline", "1s", *TINY),
    ("table",): (),
    ("verify",): (),
    ("figures",): (),
    ("list",): ("models",),
    ("data", "prepare"): ("listops", "--workers", "1"),
    ("data", "describe"): ("listops", "--data", "synthetic"),
    ("data", "list"): (),
    ("data", "verify"): ("listops",),
    ("data", "export"): ("listops", "--data-dir", "folder"),
    ("bench", "step"): ("--model", "nonsense", "--task", "text"),
    ("bench", "scan"): ("--op", "nonsense"),
    ("bench", "length"): ("--models", "nonsense"),
}


def _flags(words: tuple[str, ...]) -> list[argparse.Action]:
    """The options of a verb, or of its action."""
    parser = argparse.ArgumentParser()
    importlib.import_module(f"ssm_bench.cli.{words[0]}").add_arguments(parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return [one for one in action.choices[words[1]]._actions if one.option_strings]
    return [action for action in parser._actions if action.option_strings]


def _choose(rng: Rng, values: Sequence[Any]) -> Any:
    return values[int(rng.integers(len(values)))]


def command_lines(folder: Path, rng: Rng) -> list[str]:
    """A flag with an absurd value, an unknown flag, a missing value, or words at random."""
    # Without files, ListOps would be generated, which takes minutes.
    raw.listops(folder / "raw", rows=50)
    words = _choose(rng, list(BASES))
    base = [*words, *BASES[words]]
    kind = rng.integers(10)
    if kind == 0:
        return [*base[: int(rng.integers(len(base) + 1))], _choose(rng, ABSURD)]
    if kind == 1:
        return [_choose(rng, ABSURD) if i == rng.integers(len(base)) else word for i, word in enumerate(base)]
    if kind == 2:
        return [*base, f"--{_choose(rng, ABSURD)}", _choose(rng, ABSURD)]
    flag = _choose(rng, _flags(words))
    if flag.nargs == 0:
        return [*base, f"{flag.option_strings[-1]}={_choose(rng, ABSURD)}"]
    name = flag.option_strings[-1]
    return [*base, f"{name}={_choose(rng, ABSURD)}"] if kind < 8 else [*base, name, _choose(rng, ABSURD)]


def settings(folder: Path, rng: Rng) -> list[str]:
    """A setting with an absurd value; runs that take it end at their deadline."""
    model = _choose(rng, ("gru", "lru", "s5", "transformer", "mamba"))
    names = list(leaves(get_config(model, spec("text")).to_dict()))
    name, value = _choose(rng, names), _choose(rng, ABSURD)
    if rng.uniform() < 0.1:
        name += _choose(rng, ("x", ".", "..a", " ", "\x1b[31m"))
    command = training(model, "text", f"--config.{name}={value}", "--deadline", "25s")
    return command if rng.uniform() < 0.9 else [*command[:-3], f"--config.{name}"]


def _mutated(value: Any, rng: Rng) -> Any:
    """A JSON value with one part replaced, removed, renamed or repeated."""
    absurd = (*ABSURD, None, True, -1, 0, 2**70, 1e308, float("nan"), [], {}, [[]], {"": {}}, "x" * 10_000)
    if isinstance(value, dict) and value and rng.uniform() < 0.85:
        key = _choose(rng, list(value))
        kind = rng.integers(8)
        if kind == 0:
            return {k: v for k, v in value.items() if k != key}
        if kind == 1:
            return value | {str(_choose(rng, ABSURD)): value[key]}
        return value | {key: _mutated(value[key], rng)}
    if isinstance(value, list) and value and rng.uniform() < 0.85:
        i = int(rng.integers(len(value)))
        return [*value[:i], *([value[i]] * int(rng.integers(3))), _mutated(value[i], rng), *value[i + 1 :]]
    return _choose(rng, absurd)


def _scrambled(path: Path, rng: Rng) -> None:
    """Damages a file as storage does, or fills it with what no program wrote."""
    texts = (
        b"",
        b"\0" * 100,
        b"\xff\xfe\x00",
        b"[" * 5000,
        b'{"a":' * 3000,
        b"\xef\xbb\xbf[]",
        b"1e999",
        b"&a [*a, *a]",
    )
    if rng.uniform() < 0.3:
        path.write_bytes(_choose(rng, texts))
    else:
        damage(path.parent, _choose(rng, list(DAMAGES)), int(rng.integers(2**31)), path.name)


def plans(folder: Path, rng: Rng) -> list[str]:
    """A plan that was changed in one place, damaged, or made of the means of YAML that a plan does not need."""
    groups = [
        {
            "group": "a",
            "models": ["gru", "lru"],
            "tasks": ["text"],
            "preset": "quick",
            "share": 0.5,
            "data": "synthetic",
        },
        {"group": "b", "models": ["s5"], "tasks": ["image"], "preset": "budget", "seeds": [0, 1], "per_gpu": 2},
        {"group": "c", "models": ["s4"], "tasks": ["listops"], "preset": "custom", "overrides": {"train.lengths": 1}},
    ]
    path = folder / "plan.yaml"
    hostile = (
        "!!python/object/apply:os.system ['touch hacked']",
        "a: &a [x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c]\n",
        "&a [*a]",
        "- group: a\n  group: b\n  models: [gru]\n",
        "- {? [1]: 2}",
        "- 2001-01-01\n- 0x1F\n- ~\n",
        "- group: \x1b[31m\n",
        "%YAML 9.9\n--- a\n--- b\n",
        "\t- a: b",
    )
    path.write_text(json.dumps([_mutated(_choose(rng, groups), rng), groups[1]]), "utf-8", "surrogatepass")
    if (kind := rng.uniform()) < 0.2:
        path.write_text(_choose(rng, hostile), "utf-8")
    elif kind < 0.4:
        _scrambled(path, rng)
    return ["sweep", "--plan", "plan.yaml", "--dry-run"]


def records(folder: Path, rng: Rng) -> list[str]:
    """A record that was changed in one place or damaged, next to one that was not."""
    shutil.copytree(folder.parent / "records", folder / "results", dirs_exist_ok=True)
    path = _choose(rng, sorted((folder / "results").rglob("*.json")))
    if rng.uniform() < 0.6:
        record = _mutated(json.loads(path.read_text("utf-8")), rng)
        path.write_text(json.dumps(record), "utf-8")
        if rng.uniform() < 0.3:
            path.rename(path.with_name("another.json"))
    else:
        _scrambled(path, rng)
    verbs = (["table"], ["verify"], ["table", "--missing"], ["table", "--check"], ["verify", "--migrate"])
    train = training(path.parts[-2], path.parts[-3], "--deadline", "12s")
    return _choose(rng, (*verbs, train)) if rng.uniform() < 0.95 else ["figures"]


def raw_files(folder: Path, rng: Rng) -> list[str]:
    """Raw files of which one was damaged or changed in one place."""
    forms = {
        "listops": raw.listops,
        "retrieval": _choose(rng, (raw.retrieval, raw.papers)),
        "text": raw.reviews,
        "image": raw.images,
        "pathfinder": raw.contours,
    }
    task = _choose(rng, list(forms))
    forms[task](folder / "raw")
    files = sorted(path for path in (folder / "raw").rglob("*") if path.is_file())
    path = _choose(rng, files)
    # Without its only file, a set would be downloaded.
    kinds = [name for name in DAMAGES if name != "remove" or len(files) > 1]
    if path.suffix == ".tsv" and rng.uniform() < 0.5:
        lines = path.read_text("utf-8").split("\n")
        i = int(rng.integers(len(lines)))
        lines[i] = _choose(rng, (lines[i] + "\t7", lines[i].replace("\t", " "), "\t\t\t\t", "( [MAX", *ABSURD))
        path.write_text("\n".join(lines), "utf-8", "surrogateescape", newline="")
    else:
        damage(path.parent, _choose(rng, kinds), int(rng.integers(2**31)), path.name)
    return ["data", "prepare", task, "--workers", "1"]


#: Variables that are read when a command runs. (JAX reads its own when it is imported.)
VARIABLES = (
    *("SSM_BENCH_CACHE", "SSM_BENCH_RAW", "SSM_BENCH_NOTE", "SSM_BENCH_SHARED", "SSM_BENCH_EXPERIMENTS"),
    *("SSM_BENCH_REVISION", "HOME", "TMPDIR", "COLUMNS", "JAX_PLATFORMS"),
)


def environment_variables(folder: Path, rng: Rng) -> list[str]:
    """A variable with an absurd value; the case hands it to the command."""
    commands = (
        ["data", "list"],
        ["data", "describe", "listops", "--data", "auto"],
        ["list", "models"],
        training("gru", "text"),
        ["table"],
    )
    return _choose(rng, commands)


CASES: dict[str, tuple[float, Callable[[Path, Rng], list[str]]]] = {
    "command lines": (0.35, command_lines),
    "settings": (0.2, settings),
    "plans": (0.12, plans),
    "records": (0.15, records),
    "raw files": (0.12, raw_files),
    "environment variables": (0.06, environment_variables),
}


def cases(count: int) -> list[str]:
    """The kind of each case."""
    return [name for name, (share, _) in CASES.items() for _ in range(max(1, round(count * share)))]


def originals(folder: Path, environment: dict[str, str], *, runs: int = len(CELLS)) -> None:
    """Makes the records of some runs, which cases start from, below a folder."""
    place = folder / "made"
    place.mkdir()
    for model, task in CELLS[:runs]:
        start(training(model, task), place, environment).wait()
    shutil.copytree(place / "results", folder / "records")


def run(kind: str, folder: Path, environment: dict[str, str], seed: int) -> Counter:
    """One case; returns its figures, among them "failure: ..." with a sentence."""
    rng = np.random.default_rng(seed)
    (folder / "folder").mkdir()
    (folder / "file").write_text("text\n")
    (folder / "page.md").write_bytes(b"caf\xe9\n")
    for name in ("pipe", "pipe.md"):
        os.mkfifo(folder / name)
    here = environment | {"SSM_BENCH_CACHE": str(folder / "cache"), "TMPDIR": str(folder / "folder")}
    command = CASES[kind][1](folder, rng)
    if (folder / "raw").is_dir():
        here["SSM_BENCH_RAW"] = str(folder / "raw")
    if kind == "environment variables":
        here[_choose(rng, VARIABLES)] = _choose(rng, ABSURD)
    before = files_below(folder)
    ended = start(command, folder, here).wait()
    figures = Counter({"inputs": 1, kind: 1, f"exit code {ended.code}": 1})
    why = fault(ended, (0, 1, 2, 3), remarks=kind in ("records", "raw files"))
    if not why and ended.code == 2 and files_below(folder) != before:
        left = sorted(set(files_below(folder).items()) ^ set(before.items()))
        why = f"refused, but files changed: {left[0][0]}: {ended.what!a}: {ended.err!a}"
    if why:
        figures[f"failure: {kind} {seed}: {why}"] = 1
    return figures
