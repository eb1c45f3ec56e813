#!/usr/bin/env python3
"""A storm of faults: kills, damaged files, malformed inputs, full disks, readers during replacement.

    python scripts/storm.py                         everything, and the record and the page of it
    python scripts/storm.py --parts kills,inputs    some parts; the record keeps the others, each with its date
    python scripts/storm.py --short                 a few cases of each part, written nowhere
    python scripts/storm.py --page                  only the page, from the record

It works in a temporary folder on tiny models, with two processes at a time. It exits with 1 if a command printed a
traceback, gave a wrong result without a sentence, or a record that differs from that of an undisturbed run.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

from storm_cases import corruptions, disk, inputs, kills
from storm_cases.page import page
from storm_cases.process import load_libraries

from ssm_bench.record.store import write_text
from ssm_bench.training import provenance

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "results" / "storm.json"
PAGE = ROOT / "docs" / "reliability.md"

Case = Callable[[Path, int], Counter]


def _do(task: tuple[Case, Path, int]) -> Counter:
    """One case in a folder of its own, which is removed; what escapes the storm's own code is a failure of it."""
    case, parent, seed = task
    folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        return case(folder, seed)
    except Exception as error:
        return Counter({f"failure: seed {seed}: the storm itself: {type(error).__name__}: {error}": 1})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _kill(case: tuple[str, int], environment: dict[str, str], folder: Path, seed: int) -> Counter:
    figures, failures = kills.run(case, folder, environment, seed)
    return figures + Counter(f"failure: kills: {why}" for why in failures)


def _corrupt_data(originals: Path, expected: dict, environment: dict[str, str], folder: Path, seed: int) -> Counter:
    return corruptions.data(originals, expected, folder, environment, seed)


def _resumed(originals: Path, environment: dict[str, str], folder: Path, seed: int) -> Counter:
    return corruptions.resumed(originals, folder, environment, seed)


def _restored(originals: Path, environment: dict[str, str], count: int, folder: Path, seed: int) -> Counter:
    return corruptions.restored(originals, folder, environment, range(seed, seed + count))


def _input(kind: str, environment: dict[str, str], folder: Path, seed: int) -> Counter:
    return inputs.run(kind, folder, environment, seed)


def _full(real: bool, environment: dict[str, str], folder: Path, seed: int) -> Counter:
    return disk.full(folder, environment, seed, real=real)


def _replaced(replacements: int, environment: dict[str, str], folder: Path, seed: int) -> Counter:
    return disk.replaced(folder, environment, seed, replacements=replacements)


def cases_of(part: str, options: argparse.Namespace, folder: Path, environment: dict[str, str]) -> list[Case]:
    """The cases of a part, after what they start from has been made in a folder."""
    runs = 1 if options.short else 2
    if part == "kills":
        chosen = kills.SHORT if options.short else kills.cases(options.kills)
        return [partial(_kill, case, environment) for case in chosen]
    if part == "corruptions":
        expected = corruptions.originals(folder, environment, runs=runs)
        # Half are sets; of the checkpoints, a tenth is resumed to the end.
        half = options.corruptions // 2
        to_the_end = -(-half // 10)
        return [
            *[partial(_corrupt_data, folder, expected, environment)] * (options.corruptions - half),
            *[partial(_resumed, folder, environment)] * to_the_end,
            partial(_restored, folder, environment, half - to_the_end),
        ]
    if part == "inputs":
        inputs.originals(folder, environment, runs=runs)
        return [partial(_input, kind, environment) for kind in inputs.cases(options.inputs)]
    if part == "disks":
        (folder / "mount").mkdir()
        real = disk.can_mount(folder / "mount")
        return [partial(_full, real and number % 2 == 1, environment) for number in range(options.disks)]
    return [partial(_replaced, options.replacements, environment)]


PARTS = ("kills", "corruptions", "inputs", "disks", "readers")


def run_part(part: str, options: argparse.Namespace, environment: dict[str, str]) -> dict[str, Any]:
    """Runs a part; returns what the record says of it."""
    begun = time.monotonic()
    created = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with tempfile.TemporaryDirectory(prefix="storm-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        cases = cases_of(part, options, folder, environment)
        tasks = [(case, folder, options.seed * 100_000 + number) for number, case in enumerate(cases)]
        total: Counter[str] = Counter()
        # Forked from this process, each worker has one thread, and so can fork.
        with ProcessPoolExecutor(options.processes, multiprocessing.get_context("fork")) as pool:
            for number, done in enumerate(as_completed([pool.submit(_do, task) for task in tasks]), 1):
                total += (figures := done.result())
                for failure in (name for name in figures if name.startswith("failure: ")):
                    print(failure, flush=True)
                words = f"{number} of {len(tasks)} cases, {_failed(total)} failures"
                print(f"{part}: {words}, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return {
        "created": created,
        "seconds": round(time.monotonic() - begun),
        "seed": options.seed,
        "revision": provenance.revision(),
        "versions": provenance.versions(),
        "machine": {"processor": provenance._processor(), "cores": len(os.sched_getaffinity(0))}
        | {"system": platform.system(), "processes": options.processes},
        "figures": {name: total[name] for name in sorted(total) if not name.startswith("failure: ")},
        "failures": _failed(total),
    }


def _failed(figures: Iterable[str]) -> int:
    return sum(name.startswith("failure: ") for name in figures)


def main() -> int:
    """Runs the storm; returns 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"default: {','.join(PARTS)}")
    parser.add_argument("--kills", type=int, default=240, metavar="N")
    parser.add_argument("--corruptions", type=int, default=240, metavar="N")
    parser.add_argument("--inputs", type=int, default=600, metavar="N")
    parser.add_argument("--disks", type=int, default=24, metavar="N", help="full disks (default: 24)")
    parser.add_argument("--replacements", type=int, default=60, metavar="N", help="while two processes read")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--processes", type=int, default=2, metavar="P", help="at a time (default: 2)")
    parser.add_argument("--short", action="store_true", help="a few cases of each part; no record")
    parser.add_argument("--page", action="store_true", help="only write the page from the record")
    options = parser.parse_args()
    if options.page:
        print(f"wrote {write_text(page(json.loads(RECORD.read_text('utf-8'))), PAGE)}")
        return 0
    if unknown := set(options.parts.split(",")) - set(PARTS):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}; allowed: {', '.join(PARTS)}")
    if options.short:
        options.corruptions, options.inputs, options.disks, options.replacements = 4, 15, 1, 4
    load_libraries()
    # A commit that is made meanwhile is not a part of any run.
    revision = provenance.revision()
    told = revision["commit"] + ("+dirty" if revision["dirty"] else "")
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="storm-") as programs:
        compiled = os.environ.get("JAX_COMPILATION_CACHE_DIR", programs)
        environment = {"SSM_BENCH_REVISION": told, "JAX_COMPILATION_CACHE_DIR": compiled, "SSM_BENCH_RAW": ""}
        for part in options.parts.split(","):
            found[part] = run_part(part, options, environment)
            print(f"{part}: {json.dumps(found[part]['figures'])}, {found[part]['failures']} failures", flush=True)
            if not options.short:
                kept = json.loads(RECORD.read_text("utf-8")) if RECORD.is_file() else {}
                text = json.dumps({name: (kept | found)[name] for name in PARTS if name in kept | found}, indent=1)
                write_text(text + "\n", RECORD)
    if not options.short:
        print(f"wrote {RECORD} and {write_text(page(json.loads(RECORD.read_text('utf-8'))), PAGE)}")
    return 1 if any(part["failures"] for part in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
