"""Times the authors' code beside ours: `python scripts/peers --code DIR --which s5,lru --tasks listops,text`.

DIR holds clones of the authors' repositories, as clones.py says; what has to be replaced in them for today's packages
is replaced in place. s4, s4d, transformer and mamba need PyTorch in the same environment: pip install torch einops
ninja; s4, s4d and mamba also the CUDA toolkit, to compile the authors' kernels. mamba is its selective scan alone.
"""

import argparse
import contextlib
import gc
import importlib
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
from ssm_bench.record import SpeedRecord, store


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


def time_one(which: str, task: str, code: Path, *, toy: bool) -> SpeedRecord:
    """Times one peer on one task.

    Raises:
        UserError: the clone is not what it should be, or there is no device for it.
    """
    import timing

    peer = PEERS[which]
    clone = clones.prepare(peer.repository, code) if peer.repository else None
    measure = importlib.import_module(peer.module).measure
    # The authors' code prints what it builds.
    with contextlib.redirect_stdout(sys.stderr):
        timed = measure(clone) if peer.operation else measure(timing.Cell(which, task, toy=toy), clone)
    subject = {"operation": peer.operation} if peer.operation else {"model": which, "task": task}
    where = timing.device(peer.packages[0])
    return timing.record(timed, where=where, packages=peer.packages, repository=peer.repository, **subject)


def time_all(which: str, options: argparse.Namespace) -> int:
    """Times one peer over all tasks, and says of each what came of it; the number of those that failed."""
    failed = 0
    for task in ("",) if PEERS[which].operation else options.tasks:
        gc.collect()  # what the cell before left on the device
        label, begun = f"{which} {task}".strip(), time.monotonic()
        try:
            record = time_one(which, task, options.code, toy=options.toy)
            kept = record if options.toy else keep.fastest(record, options.results)
        except Exception as error:  # the others go on, whatever the authors' code did
            failed += 1
            lines = str(error).splitlines() or ["no message"]
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            print(f"{label}: failed: {kind}{lines[0]}", flush=True)
            continue
        times = [f"{name} {value:.4g}" for name, value in record.measurements.items() if value and "_ms" in name]
        print(f"{label}: {', '.join(times)}, after {time.monotonic() - begun:.0f} s", flush=True)
        if not options.toy:
            stays = "" if kept.created == record.created else f"; the run of {kept.created} was faster and stands"
            print(f"  written to {store.write_speed(kept, options.results)}{stays}", flush=True)
    return failed


def main(arguments: Sequence[str]) -> int:
    """Times every peer in a process of its own; 1 if a cell failed, 2 for a user's mistake."""
    parser = argparse.ArgumentParser(
        prog="peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--code", type=Path, required=True, help="folder of the clones")
    parser.add_argument("--which", default=",".join(PEERS), help="default: all of %(default)s")
    parser.add_argument("--tasks", default="listops,text,image", help="default: %(default)s")
    parser.add_argument("--results", type=Path, default=Path("results"), help="default: %(default)s")
    parser.add_argument("--toy", action="store_true", help="tiny sizes, on any machine; nothing is written")
    options = parser.parse_args(arguments)
    options.tasks = options.tasks.split(",")
    whiches = options.which.split(",")
    try:
        for flag, given, allowed in (("--which", whiches, PEERS), ("--tasks", options.tasks, registry.names("tasks"))):
            for name in given:
                if name not in allowed:
                    raise unknown_name(flag, name, allowed)
        if not options.code.is_dir():
            raise UserError(f"--code takes the folder of the clones; there is none at {options.code}")
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
