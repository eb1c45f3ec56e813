"""Prepared data and checkpoints that were damaged: refused in one sentence, or the result is the same bits."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ssm_bench.errors import UserError
from ssm_bench.sweep.cells import Cell, Choices, opened
from ssm_bench.training.checkpoint import Checkpoints
from ssm_bench.training.run import make_trainer
from storm_cases import raw
from storm_cases.damage import DAMAGES, damage, swap
from storm_cases.process import LONGEST, Ended, fault, start
from storm_cases.runs import CELLS, TINY, difference, digest_of, records, training

#: Prepared sets that are damaged: task -> (raw files, kind of the set).
SETS = {
    "listops": (raw.listops, "listops-words-official"),
    "retrieval": (raw.retrieval, "retrieval-characters-official"),
    "pathfinder": (raw.contours, "pathfinder-pixels-official"),
}

#: What happens to a folder: damage to one file, to two files, two files exchanged, a file or a set of another run.
KINDS = (*DAMAGES, "two files", "swapped files", "file of another", "folder of another")


def originals(folder: Path, environment: dict[str, str], *, runs: int = len(CELLS)) -> dict[str, str]:
    """Prepares all sets and some unfinished runs below a folder; returns the digests of the sets.

    Raises:
        RuntimeError: something failed without any damage.
    """
    expected = {}
    for task, (write, _) in SETS.items():
        write(folder / "raw")
        here = environment | {"SSM_BENCH_RAW": str(folder / "raw"), "SSM_BENCH_CACHE": str(folder / "cache")}
        ended = _open(task, folder, here)
        if fault(ended, (0,)):
            raise RuntimeError(f"{task} cannot be prepared: {ended.err}")
        expected[task] = ended.out
    for model, task in CELLS[:runs]:
        run = folder / model
        run.mkdir()
        command = training(model, task)
        child = start(command, run, environment)
        steps = run / "checkpoints"
        while child.is_running(0.01) and len(list(steps.glob("*/*/*/*/[0-9]*"))) < 2:
            pass
        child.send("SIGKILL")
        child.wait()
        kept = folder / f"{model}.unfinished"
        shutil.copytree(steps, kept / "checkpoints", ignore=shutil.ignore_patterns(".draft", ".removed"))
        start(command, run, environment).wait()
        if len(records(run)) != 1:
            raise RuntimeError(f"{model} cannot be trained")
    return expected


def _open(task: str, folder: Path, environment: dict[str, str]) -> Ended:
    def opening() -> None:
        print(digest_of(task))

    return start(opening, folder, environment).wait()


def _damage(folder: Path, other: Path, kind: str, rng: np.random.Generator) -> str:
    """Damages a folder in one way; returns which files. `other` is a folder like it, which may change, too."""
    seed = int(rng.integers(2**31))
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    if kind == "two files":
        first, second = rng.choice(len(files), 2, replace=False)
        for path in (files[first], files[second]):
            damage(path.parent, "flip", seed, path.name) if path.stat().st_size else path.unlink()
        return f"{files[first].name} and {files[second].name}"
    if kind == "swapped files":
        first, second = rng.choice(len(files), 2, replace=False)
        swap(files[first], files[second])
        return f"{files[first].name} and {files[second].name}"
    if kind == "folder of another":
        swap(folder, other)
        return folder.name
    path = files[rng.integers(len(files))]
    if kind == "file of another":
        others = sorted(found for found in other.rglob(path.name) if found.is_file())
        if not others:
            path.unlink()
            return path.name
        shutil.copy2(others[rng.integers(len(others))], path)
        return path.name
    if not path.stat().st_size:
        kind = "append"
    return f"{damage(path.parent, kind, seed, path.name).name} ({kind})"


def data(originals: Path, expected: dict[str, str], folder: Path, environment: dict[str, str], seed: int) -> Counter:
    """One damaged set: it is opened, damaged, and opened again by another process."""
    rng = np.random.default_rng(seed)
    kind, task = KINDS[seed % len(KINDS)], list(SETS)[seed // len(KINDS) % len(SETS)]
    shutil.copytree(originals / "cache", folder / "cache")
    environment = environment | {"SSM_BENCH_CACHE": str(folder / "cache"), "SSM_BENCH_RAW": ""}
    ended = _open(task, folder, environment)
    why = fault(ended, (0,)) or ("" if ended.out == expected[task] else "an undamaged copy gives other data")
    other = list(SETS)[(list(SETS).index(task) + 1) % len(SETS)]
    done = _damage(folder / "cache" / SETS[task][1], folder / "cache" / SETS[other][1], kind, rng)
    ended = _open(task, folder, environment)
    return _judged("data", f"{seed}: {task}: {kind}: {done}", why, ended, ended.out == expected[task])


def _damaged_run(originals: Path, folder: Path, seed: int) -> tuple[str, str, str, Path]:
    """A copy of an unfinished run with damage to one of its two checkpoints: model, task, what was done, its folder."""
    rng = np.random.default_rng(seed)
    there = [cell for cell in CELLS if (originals / f"{cell[0]}.unfinished").is_dir()]
    kind, which = KINDS[seed % len(KINDS)], seed // len(KINDS) % len(there)
    model, task = there[which]
    shutil.copytree(originals / f"{model}.unfinished", folder, dirs_exist_ok=True)
    shutil.copytree(originals / f"{there[which - 1][0]}.unfinished", folder / "other")
    (run,) = folder.glob("checkpoints/*/*/*/[!.]*")
    (other,) = folder.glob("other/checkpoints/*/*/*/[!.]*")
    # Damage to the newest checkpoint, or to any.
    steps = sorted(run.glob("[0-9]*"), key=lambda path: int(path.name))
    place = steps[-1] if kind not in ("folder of another", "swapped files") and rng.uniform() < 0.7 else run
    return model, task, f"{kind}: {_damage(place, other, kind, rng)}", run


def resumed(originals: Path, folder: Path, environment: dict[str, str], seed: int) -> Counter:
    """One damaged checkpoint: the run is resumed to its end."""
    model, task, done, _ = _damaged_run(originals, folder, seed)
    ended = start(training(model, task), folder, environment).wait()
    if ended.code == 0 and (why := difference(records(folder), records(originals / model))):
        return _judged("checkpoints", f"{model}: {done}", f"another record: {why}", ended, False)
    left = list((folder / "results").rglob("*.json")) if ended.code == 2 else []
    why = f"refused, but there is {left[0].name}" if left else ""
    return _judged("checkpoints", f"{model}: {done}", why, ended, ended.code == 0)


def restored(originals: Path, folder: Path, environment: dict[str, str], seeds: Sequence[int]) -> Counter:
    """Damaged checkpoints, restored one after another in one process: all arrays and the progress are compared.

    That a run resumed from any undamaged checkpoint ends in the same record is what kills show.
    """

    def restoring() -> None:
        from ssm_bench.cli._options import prepare_jax

        prepare_jax("quick", tell=False)
        print(json.dumps(_restored(originals, folder, seeds)))

    ended = start(restoring, folder, environment).wait(10 * LONGEST)
    if why := fault(ended, (0,)):
        return Counter({f"failure: checkpoints: {why}": 1})
    return Counter(json.loads(ended.out))


def _restored(originals: Path, folder: Path, seeds: Sequence[int]) -> Counter:
    likes, expected = {}, {}
    for model, task in CELLS:
        if (originals / f"{model}.unfinished").is_dir():
            likes[model] = _like(model, task)
            (run,) = (originals / f"{model}.unfinished").glob("checkpoints/*/*/*/[!.]*")
            for step in run.glob("[0-9]*"):
                alone = folder / f"{model}-{step.name}" / run.name
                shutil.copytree(step, alone / step.name)
                expected[_digest(Checkpoints(alone).restore(likes[model]))] = model
    total: Counter[str] = Counter()
    for seed in seeds:
        case = folder / str(seed)
        model, _, done, run = _damaged_run(originals, case, seed)
        total.update(("corruptions", "corruptions of checkpoints"))
        try:
            same = expected.get(_digest(Checkpoints(run).restore(likes[model]))) == model
            total["checkpoints: the same bits" if same else f"failure: {seed}: {model}: {done}: silently others"] += 1
        except UserError as error:
            is_one = "\n" not in str(error)
            total["checkpoints: refused in one sentence" if is_one else f"failure: {seed}: {done}: {error}"] += 1
        except Exception as error:
            total[f"failure: checkpoints {seed}: {model}: {done}: {type(error).__name__}: {error}"] += 1
        shutil.rmtree(case)
    return total


def _like(model: str, task: str) -> Any:
    """Arrays of the shapes and types that a checkpoint of a tiny run holds."""
    choices = Choices(preset="quick", data="synthetic", overrides=tuple(one for one in TINY if "config" in one))
    config, dataset = opened(choices.config(Cell(model=model, task=task, seed=0)))
    program = make_trainer(config, dataset).program
    return {"state": program.initial_state(), "best": {"params": program.model.params, "stats": program.model.stats}}


def _digest(restored: Any) -> str:
    """One hash of a restored checkpoint; empty if none was found."""
    if restored is None:
        return ""
    tree, progress = restored
    digest = hashlib.sha256(json.dumps(progress, sort_keys=True).encode())
    for leaf in jax.tree.leaves(tree):
        digest.update(f"{leaf.dtype} {leaf.shape}".encode() + np.asarray(leaf).tobytes())
    return digest.hexdigest()


def _judged(of: str, what: str, why: str, ended: Ended, same: bool) -> Counter:
    """The figures of a case; the names of those that begin with "failure: " are sentences."""
    figures = Counter({"corruptions": 1, f"corruptions of {of}": 1})
    why = why or fault(ended, (0, 2), remarks=of == "checkpoints")
    if not why and ended.code == 0 and not same:
        why = "silently other data"
    if why:
        figures[f"failure: {of}: {what}: {why}"] = 1
    else:
        figures[f"{of}: the same bits" if same else f"{of}: refused in one sentence"] = 1
    return figures
