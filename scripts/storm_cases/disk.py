"""Disks that fill up, and data that are replaced while others read them."""

import contextlib
import resource
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from storm_cases import raw
from storm_cases.process import fault, start
from storm_cases.runs import CELLS, difference, digest_of, files_below, records, training

#: What is done while the disk is full.
VERBS = ("train", "prepare", "table", "output")

#: Seconds that readers and writers of one case run at most.
_LONGEST = 120.0


def full(folder: Path, environment: dict[str, str], seed: int, *, real: bool) -> Counter:
    """One command that fails since the disk is full, and then succeeds with more room.

    Args:
        folder: to work in.
        environment: of the commands.
        seed: decides the command and how much room there is.
        real: on a file system of a few kilobytes; else with a limit on the size of files.
    """
    verb, rng = VERBS[seed % len(VERBS)], np.random.default_rng(seed)
    model, task = CELLS[seed // len(VERBS) % len(CELLS)]
    intact, place = folder / "intact", folder / "place"
    for path in (intact, place):
        path.mkdir()
    raw.listops(folder / "raw", seed, rows=20_000)
    commands = {"train": training(model, task), "prepare": ["data", "prepare", "listops", "--workers", "1"]}
    command = commands.get(verb, ["table"])

    def here(path: Path) -> dict[str, str]:
        return environment | {"SSM_BENCH_RAW": str(folder / "raw"), "SSM_BENCH_CACHE": str(path / "cache")}

    if command == ["table"]:
        start(training(model, task), intact, here(intact)).wait()
        shutil.copytree(intact / "results" / "runs", folder / "runs")
    failures = [fault(start(command, intact, here(intact)).wait(), (0,))]
    room = int(rng.integers(8, {"train": 120, "prepare": 600}.get(verb, 30))) << 10
    with _disk(place, room if real else 0) as more:
        if command == ["table"]:
            with contextlib.suppress(OSError):
                shutil.copytree(folder / "runs", place / "results" / "runs")
        limits = {} if real else {resource.RLIMIT_FSIZE: room}
        ended = start(command, place, here(place), limits=limits, full_output=verb == "output").wait()
        # A full standard output is no mistake in the command; what the disk holds is enough at times.
        failures.append(fault(ended, (0, 1, 2) if verb == "output" else (0, 2)))
        more()
        if command == ["table"]:
            shutil.copytree(folder / "runs", place / "results" / "runs", dirs_exist_ok=True)
        failures.append(fault(start(command, place, here(place)).wait(), (0,)))
        failures.append(_unlike(verb, place, intact, here))
    figures = Counter({"full disks": 1, f"full disks: {verb}": 1, "real file systems": int(real)})
    figures["refused"] = int(ended.code != 0)
    figures.update(f"failure: full disk: {why}" for why in failures if why)
    return figures


def _unlike(verb: str, place: Path, intact: Path, here) -> str:
    """How the result differs from that of a disk with enough room; empty if it does not."""
    if verb == "prepare":

        def content() -> None:
            print(digest_of("listops"))

        texts = [start(content, path, here(path)).wait().out for path in (place, intact)]
        return "" if texts[0] == texts[1] and texts[0] else "other data"
    if verb == "train":
        return difference(records(place), records(intact))
    tables = [files_below(path / "results" / "tables") for path in (place, intact)]
    return "" if tables[0] == tables[1] else f"other tables: {sorted(tables[0])}, not {sorted(tables[1])}"


@contextlib.contextmanager
def _disk(place: Path, size: int) -> Iterator:
    """Mounts a file system of so many bytes, if there are any; yields a function that makes it larger."""
    if not size:
        yield lambda: None
        return
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes=0", "tmpfs", str(place)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=256m", str(place)], check=True, capture_output=True)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, capture_output=True)


def can_mount(folder: Path) -> bool:
    """Whether this user may mount a small file system."""
    try:
        with _disk(folder, 1 << 20):
            return True
    except (OSError, subprocess.SubprocessError):
        return False


def replaced(folder: Path, environment: dict[str, str], seed: int, *, replacements: int) -> Counter:
    """Two processes open a set again and again while it is replaced, by commands of which some are killed."""
    rng = np.random.default_rng(seed)
    environment = environment | {"SSM_BENCH_CACHE": str(folder / "cache")}
    command = ["data", "prepare", "listops", "--workers", "1", "--again"]
    stop, expected, failures = folder / "stop", [], []

    def once() -> None:
        print(digest_of("listops"))

    def reading() -> None:
        while not stop.exists():
            print(digest_of("listops"))

    raws = [{"SSM_BENCH_RAW": str(folder / name)} for name in ("first", "second")]
    for number, of in enumerate(raws):
        raw.listops(Path(of["SSM_BENCH_RAW"]), seed + number, rows=500 * (1 + number))
        failures.append(fault(start(command, folder, environment | of).wait(), (0,)))
        expected.append(start(once, folder, environment | of).wait().out.strip())
    readers = [start(reading, folder, environment | raws[0]) for _ in range(2)]
    figures = Counter({"replacements": replacements})
    for number in range(replacements):
        child = start(command, folder, environment | raws[number % 2])
        codes = (0,)
        if rng.uniform() < 0.3 and child.is_running(rng.uniform(0, 0.3)):
            child.send("SIGKILL")
            codes = (0, -9)
            figures["replacements that were killed"] += 1
        failures.append(fault(child.wait(), codes))
    stop.touch()
    for reader in readers:
        ended = reader.wait(_LONGEST)
        failures.append(fault(ended, (0,)))
        seen = ended.out.split()
        figures["sets opened meanwhile"] += len(seen)
        failures += [f"neither the old set nor the new one: {found}" for found in seen if found not in expected][:3]
    figures.update(f"failure: readers: {why}" for why in failures if why)
    return figures
