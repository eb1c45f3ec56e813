"""One run by several processes (`jax.distributed`): shared decisions, and work that process 0 does for all of them.

All processes must call the same programs in the same order. They therefore exchange each decision that depends on a
clock, a signal or a file before it takes effect. With one process, these functions are plain calls.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np

from ssm_bench.errors import UserError
from ssm_bench.training.checkpoint import Checkpoints
from ssm_bench.training.stop import Stop, Stopped

Result = TypeVar("Result")

#: Bytes of a text that `gathered` shares; longer texts are truncated.
TEXT = 1024


def join(coordinator: str, processes: int | None = None, process: int | None = None) -> None:
    """Connects this process to the others that train one run; called before JAX computes anything.

    Args:
        coordinator: "HOST:PORT" of process 0, the same for all; "auto": from the environment of SLURM, Open MPI or
            Kubernetes.
        processes: number of processes.
        process: index of this process, from 0.

    Raises:
        UserError: the processes cannot connect.
    """
    # Without it, processes on CPUs cannot exchange arrays.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        if coordinator == "auto":
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(coordinator, processes, process)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--coordinator {coordinator}: the processes of the run could not connect: {reason}") from error


def several() -> bool:
    """Whether this process has joined others; it does not start JAX."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def first() -> bool:
    """Whether this is process 0, which writes messages and records."""
    return not several() or jax.process_index() == 0


def gathered(text: str) -> list[str]:
    """The texts of all processes, ordered by process index."""
    if not several():
        return [text]
    from jax.experimental.multihost_utils import process_allgather

    # All processes must exchange arrays of the same shape.
    row = np.frombuffer(text.encode()[:TEXT].ljust(TEXT, b"\0"), np.uint8)
    rows = np.asarray(process_allgather(row))
    return [found.tobytes().rstrip(b"\0").decode(errors="ignore") for found in rows]


def from_first(content: bytes) -> bytes:
    """The bytes that process 0 has."""
    if not several():
        return content
    from jax.experimental.multihost_utils import broadcast_one_to_all

    size = int(broadcast_one_to_all(np.int32(len(content))))
    row = np.frombuffer(content, np.uint8) if first() else np.zeros(size, np.uint8)
    return np.asarray(broadcast_one_to_all(row)).tobytes()


def lead(work: Callable[[], Result]) -> Result:
    """Runs work in process 0 and returns its result, JSON values, in all processes.

    Raises:
        UserError: the work failed; raised in every process.
    """
    if not several():
        return work()
    answer, failure = {}, None
    if first():
        try:
            answer["result"] = work()
        except Exception as error:
            failure, answer["error"] = error, str(error) or type(error).__name__
    answer = json.loads(from_first(json.dumps(answer).encode()))
    if failure:
        raise failure
    if "error" in answer:
        raise UserError(f"process 0: {answer['error']}")
    return answer["result"]


def everywhere(work: Callable[[], Result]) -> Result:
    """Runs work in every process and returns its result.

    Raises:
        UserError: the work failed in one process; raised in every process, so that none waits for it.
    """
    result, failure, message = None, None, ""
    try:
        result = work()
    except UserError as error:
        failure, message = error, str(error)
    messages = gathered(message)
    if failure:
        raise failure
    if wrong := [number for number, each in enumerate(messages) if each]:
        raise UserError(f"process {wrong[0]}: {messages[wrong[0]]}")
    return result  # type: ignore[return-value]


def check_alike(identity: str) -> None:
    """Checks that all processes were started with the same command.

    Args:
        identity: the identity of the run of this process.

    Raises:
        UserError: the identity differs from that of process 0.
    """
    found = gathered(identity)
    for number, other in enumerate(found):
        if other != found[0]:
            raise UserError(
                "all processes of a run need the same settings, data and code; process 0 has "
                f"{found[0]}, process {number} {other}"
            )


class SharedStop(Stop):
    """A `Stop` of several processes: a request to stop in one of them stops all of them before the same step."""

    def reason(self, ahead: float = 0.0) -> str:
        """As for `Stop`; all processes call it at the same points of the run and get the same result."""
        return next(filter(None, gathered(super().reason(ahead))), "")

    def agreed(self, wish: bool) -> bool:
        """Whether the condition is true in one of the processes."""
        return any(gathered("yes" if wish else ""))

    def attempt(self, work: Callable[[], Result]) -> Result:
        """The result of work. A stop does not abandon the work, since each process would do so at a different time.

        Raises:
            Stopped: a stop was requested before the work began.
        """
        if reason := self.reason():
            raise Stopped(reason)
        return work()


class SharedCheckpoints(Checkpoints):
    """Checkpoints in a folder that all processes share: Orbax saves and loads arrays in all of them at once."""

    def _once(self, work: Callable[[], None]) -> None:
        lead(work)


def checkpoints_of(folder: Path) -> Checkpoints:
    """The checkpoints of a run, for one or several processes."""
    return SharedCheckpoints(folder) if several() else Checkpoints(folder)


def stop_at(deadline: float | None) -> Stop:
    """The `Stop` of a run, for one or several processes."""
    return SharedStop(deadline) if several() else Stop(deadline)
