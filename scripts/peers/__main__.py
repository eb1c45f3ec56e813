"""Times the authors' code, or trains it on our data.

  python scripts/peers --code DIR --which s5,lru --tasks listops,text                  writes results/speed/peer-*.json
  python scripts/peers --code DIR --train s5 --task listops --share 0.25 --deadline 9m   writes results/peers/**.json

DIR (default: SSM_BENCH_PEERS) holds clones of the authors' repositories, as clones.py says; what has to be replaced in
them for today's packages is replaced in place. s4, s4d, transformer and mamba need PyTorch in the same environment:
pip install torch einops ninja; to time s4, s4d and mamba also the CUDA toolkit, to compile the authors' kernels. mamba
is its selective scan alone.

A training run that is stopped, by its --deadline or a signal, saves a checkpoint; the same command resumes it.
"""

import argparse
import contextlib
import gc
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import clones
import keep

from ssm_bench import registry
from ssm_bench.errors import UserError, unknown_name
from ssm_bench.record import SpeedRecord, peer, store


@dataclass(frozen=True)
class Peer:
    """A module here with a function `measure`, what it times, and the packages that this runs on, framework first."""

    module: str
    repository: clones.Repository | None
    packages: tuple[str, ...]
    #: What is timed where that is no model.
    operation: str = ""


JAX = ("jax", "jaxlib", "flax", "optax", "numpy")
TORCH = ("torch", "numpy")

PEERS = {
    "s5": Peer("s5_step", clones.S5, JAX),
    "lru": Peer("lru_step", clones.LRU, JAX),
    "s4": Peer("s4_step", clones.S4, (*TORCH, "einops")),
    "s4d": Peer("s4_step", clones.S4, (*TORCH, "einops")),
    "transformer": Peer("transformer_step", None, TORCH),
    "mamba": Peer("selective_scan", clones.MAMBA, TORCH, operation="selective_scan"),
}

#: Those whose authors' code has a whole model to train.
TRAINED = tuple(which for which, peer in PEERS.items() if peer.repository and not peer.operation)


def time_one(which: str, task: str, code: Path, *, toy: bool) -> SpeedRecord:
    """Times one peer on one task.

    Raises:
        UserError: the clone is not what it should be, or there is no device for it.
    """
    import timing

    found = PEERS[which]
    clone = clones.prepare(found.repository, code) if found.repository else None
    measure = importlib.import_module(found.module).measure
    # The authors' code prints what it builds.
    with contextlib.redirect_stdout(sys.stderr):
        timed = measure(clone) if found.operation else measure(timing.Cell(which, task, toy=toy), clone)
    subject = {"operation": found.operation} if found.operation else {"model": which, "task": task}
    where = timing.device(found.packages[0])
    return timing.record(timed, where=where, packages=found.packages, repository=found.repository, **subject)


def time_all(which: str, options: argparse.Namespace) -> int:
    """Times one peer over all tasks, and says of each what came of it; the number of those that failed."""
    failed = 0
    for task in ("",) if PEERS[which].operation else options.tasks:
        gc.collect()  # what the cell before left on the device
        label, begun = f"{which} {task}".strip(), time.monotonic()
        try:
            record = time_one(which, task, options.code, toy=options.toy)
            kept = record if options.toy else keep.fastest(record, options.results)
        except Exception as error:  # the others continue, whatever the authors' code did
            failed += 1
            lines = str(error).splitlines() or ["no message"]
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            print(f"{label}: failed: {kind}{lines[0]}", flush=True)
            continue
        times = [f"{m.metric} {m.value:.4g}" for m in record.measurements if m.value and "_ms" in m.metric]
        print(f"{label}: {', '.join(times)}, after {time.monotonic() - begun:.0f} s", flush=True)
        if not options.toy:
            stays = "" if kept.created == record.created else f"; the run of {kept.created} was faster and stands"
            print(f"  written to {store.write_speed(kept, options.results)}{stays}", flush=True)
    return failed


def train(options: argparse.Namespace) -> int:
    """Trains one peer on one task and writes its record; 0 also where time ran out, 1 for a loss that is not finite.

    Raises:
        UserError: the clone, the data or a checkpoint is not what it should be.
    """
    import peer_training as training
    import timing

    from ssm_bench.data import load
    from ssm_bench.sweep.progress import parse_duration
    from ssm_bench.training.stop import Stop

    found, label = PEERS[options.train], f"{options.train} {options.task}"
    assert found.repository is not None  # as for all of TRAINED
    if not 0 < options.share <= 1:
        raise UserError(f"--share is a share of the published steps in (0, 1]; got {options.share}")
    if not 0 <= options.seed < 2**31:
        raise UserError(f"--seed takes a whole number from 0 to 2147483647; got {options.seed}")
    stop = Stop(parse_duration("--deadline", options.deadline) if options.deadline else None)
    clone = clones.prepare(found.repository, options.code)
    toy = options.toy
    dataset = load(options.task, data="synthetic" if toy else "real", max_length=64 * toy, examples=200 * toy)
    cell = training.cell_of(options.train, options.task, dataset, toy=toy)
    schedule = training.Schedule.of(cell, options.share)
    if not toy and (
        path := training.finished(cell, found.repository, dataset, schedule, options.seed, options.results)
    ):
        print(f"{label}: finished before, {path}", flush=True)
        return 0
    run = training.identity(cell, found.repository, dataset, schedule, options.seed)
    name = f"{options.train}-{options.task}-{schedule.steps}-{dataset.card['checksum'][:8]}-s{options.seed}"
    checkpoints = training.Checkpoints(options.checkpoints / "peers" / name, run)
    with stop, contextlib.redirect_stdout(sys.stderr):  # the authors' code prints what it builds
        trainee = importlib.import_module(found.module).trainee(cell, clone, schedule, options.seed)
        feed = training.Feed(dataset, cell.batch, options.seed, to_longest=found.packages[0] == "torch")

        def say(words: str) -> None:
            print(f"{label}: {words}", file=sys.__stdout__, flush=True)

        part = training.part(timing.device(found.packages[0]), found.packages)
        outcome = training.train(trainee, feed, schedule, checkpoints, stop, say, part)
        done = training.record(cell, found.repository, trainee, dataset, schedule, options.seed, outcome)
    scores = f"test {100 * done.result.test_accuracy:.2f} %" if done.result else "no test score"
    print(f"{label}: {done.status} after {done.steps.done} of {done.steps.planned} steps, {scores}", flush=True)
    if not toy:
        print(f"  written to {peer.write(done, options.results)}", flush=True)
    return 1 if done.status == "diverged" else 0


def main(arguments: Sequence[str]) -> int:
    """Times every peer in a process of its own, or trains one; 1 if a cell failed, 2 for a user's mistake."""
    parser = argparse.ArgumentParser(
        prog="peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    code = os.environ.get("SSM_BENCH_PEERS")
    parser.add_argument("--code", type=Path, default=code, required=code is None, help="folder of the clones")
    parser.add_argument("--results", type=Path, default=Path("results"), help="default: %(default)s")
    parser.add_argument("--toy", action="store_true", help="tiny sizes, on any machine; no record is written")
    timed = parser.add_argument_group("to time steps")
    timed.add_argument("--which", default=",".join(PEERS), help="default: all of %(default)s")
    timed.add_argument("--tasks", default="listops,text,image", help="default: %(default)s")
    trained = parser.add_argument_group("to train")
    trained.add_argument("--train", metavar="NAME", default="", help=f"one of {', '.join(TRAINED)}")
    trained.add_argument("--task", default="listops", help="default: %(default)s")
    trained.add_argument("--share", type=float, default=1.0, help="of the published steps, in (0, 1]; default: 1")
    trained.add_argument("--seed", type=int, default=0, help="default: 0")
    trained.add_argument("--deadline", default="", metavar="TIME", help="save and exit before this time, e.g. 9m")
    trained.add_argument("--checkpoints", type=Path, default=Path("checkpoints"), help="default: %(default)s")
    options = parser.parse_args(arguments)
    options.tasks = options.tasks.split(",")
    whiches = [options.train] if options.train else options.which.split(",")
    if options.train:
        options.tasks = [options.task]
    allowed_peers = TRAINED if options.train else tuple(PEERS)
    flags = ("--train", "--task") if options.train else ("--which", "--tasks")
    try:
        for flag, given, allowed in zip(
            flags, (whiches, options.tasks), (allowed_peers, registry.names("tasks")), strict=True
        ):
            for name in given:
                if name not in allowed:
                    raise unknown_name(flag, name, allowed)
        if not options.code.is_dir():
            raise UserError(f"--code takes the folder of the clones; there is none at {options.code}")
        if options.train:
            return train(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if len(whiches) == 1:
        return 1 if time_all(whiches[0], options) else 0
    # Frameworks do not share the memory of a GPU, and what one authors' code breaks must not end the others.
    command = [sys.executable, str(Path(__file__).parent), *arguments, "--which"]
    codes = {which: subprocess.run([*command, which]).returncode for which in whiches}
    for which, code in codes.items():
        if code not in (0, 1):
            print(f"{which}: its process ended with {code}", flush=True)
    return 1 if any(codes.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
