"""Worker processes that share the cells of a sweep, each with a GPU or a part of the CPU's cores to itself.

This process hands out one cell at a time over a pipe and shows what comes back. Where there are GPUs it never starts
JAX, which would take hold of all of them.
"""

import contextlib
import importlib.util
import math
import multiprocessing
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType

from ssm_bench.errors import UserError
from ssm_bench.sweep.cells import Cell, Runner, check, labels, returning
from ssm_bench.sweep.progress import Progress, Screen
from ssm_bench.training.stop import SIGNALS, Stop, leave

#: CPU workers beyond this cost memory, about a gigabyte each, unless asked for.
MOST_BY_DEFAULT = 8

#: Seconds after the deadline at which workers are killed that have not left.
GRACE = 5.0

#: Part of a GPU's memory that several workers on it share.
GPU_MEMORY = 0.9

#: Seconds that a cell has run before the next one is compiled: most programs of its own are compiled then, and a cell
#: that is skipped has ended.
AHEAD_AFTER = 15.0


@dataclass(frozen=True, kw_only=True)
class Place:
    """What one worker computes on.

    Attributes:
        gpu: one or several, as in CUDA_VISIBLE_DEVICES; None: the CPU.
        memory: part of the GPU's memory; None: what JAX takes by itself.
        cores: CPU cores, where a GPU is None.
        crowded: other processes use it too, so that times do not measure speed.
    """

    gpu: str | None = None
    memory: float | None = None
    cores: tuple[int, ...] = ()
    crowded: bool = False

    def settle(self) -> None:
        """Keeps this process, which has not started JAX yet, to its place."""
        if self.crowded or self.memory is not None:
            os.environ["SSM_BENCH_SHARED"] = "1"
        if self.gpu is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.gpu
            if self.memory is not None:
                os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{self.memory:.2f}"
        elif self.cores and hasattr(os, "sched_setaffinity"):
            # XLA starts as many threads as it may use cores.
            os.sched_setaffinity(0, self.cores)


def gpus() -> list[str]:
    """The GPUs that JAX would find, as CUDA_VISIBLE_DEVICES names them, without starting it."""
    plugin = any(p.name.startswith("xla_cuda") for p in entry_points(group="jax_plugins"))
    if not plugin or os.environ.get("JAX_PLATFORMS", "cuda").split(",")[0] not in ("cuda", "gpu", ""):
        return []
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in visible.split(",") if name and name != "-1"]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(i) for i in range(sum(line.startswith("GPU ") for line in listed.splitlines()))]


def cores() -> list[int]:
    """The CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def host_devices() -> int:
    """How many devices JAX makes of this machine, where none of them is a GPU."""
    import jax

    return jax.device_count()


def on_tpu() -> bool:
    """Whether JAX would compute on a TPU, which belongs to one process."""
    return importlib.util.find_spec("libtpu") is not None and os.environ.get("JAX_PLATFORMS", "tpu") != "cpu"


def places(jobs: int = 0, devices: int = 1) -> list[Place]:
    """A place for each of `jobs` workers with so many devices; 0: as many as suit this machine.

    One a GPU; without a GPU, one a core up to MOST_BY_DEFAULT; one on a TPU, which belongs to one process.

    Raises:
        UserError: several devices a worker, and more in all than there are.
    """
    found = gpus()
    tpu = on_tpu()
    if devices > 1:
        there = len(found) or host_devices()
        jobs = jobs or (1 if tpu else max(there // devices, 1))
        if jobs * devices > there:
            raise UserError(f"--jobs x --devices is at most {there}, the devices here; got {jobs} x {devices}")
        if found:
            return [Place(gpu=",".join(found[i * devices : (i + 1) * devices])) for i in range(jobs)]
    if found:
        jobs = jobs or len(found)
        crowd = -(-jobs // len(found))
        memory = GPU_MEMORY / crowd if crowd > 1 else None
        return [Place(gpu=found[i % len(found)], memory=memory) for i in range(jobs)]
    free = cores()
    jobs = jobs or (1 if tpu else min(len(free), MOST_BY_DEFAULT))
    return [Place(cores=tuple(free[i::jobs]) or (free[i % len(free)],)) for i in range(jobs)]


@dataclass(frozen=True)
class Job:
    """A cell for a worker: to run, or, with a message, to record as failed."""

    cell: Cell
    label: str
    failure: str = ""


@dataclass
class Worker:
    """A worker process, seen from the sweep.

    Attributes:
        process: the process.
        connection: the sweep's end of the pipe.
        number: its place on the screen.
        job: the one it is busy with, None once it may go.
        since: when it got the job, on the monotonic clock.
    """

    process: BaseProcess
    connection: Connection
    number: int
    job: Job | None = None
    since: float = math.inf

    def give(self, job: Job | None) -> None:
        """Hands out a job, or, with None, lets the worker go; one that is dead is noticed when its pipe is read."""
        self.job, self.since = job, math.inf if job is None else time.monotonic()
        with contextlib.suppress(OSError):
            self.connection.send(job)

    def hear(self) -> tuple[str, str]:
        """Its next message: ("update" or "line", a text), ("done", a status), or ("gone", how it ended)."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            return "gone", f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


class Ahead:
    """Compiles the programs of the next cell in a process of its own while workers train.

    The worker that gets the cell finds them in the compilation cache. Whatever goes wrong in that process is left to
    the worker, which reports it.
    """

    def __init__(self, runner: Runner, place: Place, end: float | None, prepare: Callable[[], None]):
        """The arguments are those of a worker."""
        self.arguments = (place, runner, end, prepare)
        self.process: BaseProcess | None = None
        self.begun: set[Cell] = set()

    def look(self, busy: Sequence[Worker], waiting: Sequence[Job]) -> None:
        """Starts with the next cell if a worker trains and no other cell is being compiled."""
        ready = any(time.monotonic() - worker.since > AHEAD_AFTER for worker in busy)
        free = self.process is None or not self.process.is_alive()
        job = next((job for job in waiting if not job.failure), None)
        if ready and free and job and job.cell not in self.begun:
            self.begun.add(job.cell)
            context = multiprocessing.get_context("spawn")
            self.process = context.Process(target=compile_ahead, args=(job.cell, *self.arguments), daemon=True)
            self.process.start()

    def close(self) -> None:
        """Ends the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()


def compile_ahead(cell: Cell, place: Place, runner: Runner, end: float | None, prepare: Callable[[], None]) -> None:
    """The main function of the process of `Ahead`."""
    place.settle()
    # Training goes first, on the cores and in the memory of the GPU.
    os.nice(10)
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    with (
        contextlib.suppress(Exception),
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stderr(nowhere),
        _WorkerStop(None if end is None else end - time.monotonic()) as stop,
    ):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        prepare()
        runner.compile(cell, stop)
    leave(0)


def sweep(
    wanted: Sequence[Cell],
    runner: Runner,
    stop: Stop,
    where: Sequence[Place],
    prepare: Callable[[], None],
    ahead: bool = False,
) -> list[tuple[Cell, str]]:
    """Runs cells in worker processes; a worker that dies leaves a record of failure, and another takes its place.

    Args:
        wanted: cells, in the order to start them.
        runner: what to do with a cell.
        stop: deadline and signals; workers save and leave when it says so.
        where: a place for each worker.
        prepare: settings of JAX, made in each worker.
        ahead: compile the next cell while the workers train; records then say that they shared their device.

    Returns:
        Every cell that was reached, with its status, in the order in which they ended.

    Raises:
        UserError: as `cells.check`.
    """
    check(wanted, runner)
    label = dict(zip(wanted, labels(wanted), strict=True))

    def visit(some: Sequence[Cell]) -> list[tuple[Cell, str]]:
        return _share([Job(cell, label[cell]) for cell in some], runner, stop, where[: len(some)], prepare, ahead)

    return returning(visit, wanted, runner)


def _share(
    jobs: Sequence[Job],
    runner: Runner,
    stop: Stop,
    where: Sequence[Place],
    prepare: Callable[[], None],
    ahead: bool,
) -> list[tuple[Cell, str]]:
    """Shares jobs out among new workers until all are done or a stop is requested; see `sweep`."""
    waiting = deque(jobs)
    reached: list[tuple[Cell, str]] = []
    screen, crew = Screen(), {}
    if ahead:
        where = [replace(place, crowded=True) for place in where]
    compiling = Ahead(runner, where[0], stop.end, prepare) if ahead else None

    def hire(number: int) -> None:
        """A new worker with the next job, if there is one."""
        if job := next_job():
            worker = _start(number, where[number], runner, stop.end, prepare)
            worker.give(job)
            crew[worker.connection] = worker

    def next_job() -> Job | None:
        for job in waiting:
            # To record a failure takes no time.
            if not stop.reason(ahead=0.0 if job.failure else job.cell.seconds):
                waiting.remove(job)
                return job
        return None

    def relieve(worker: Worker, how: str) -> None:
        del crew[worker.connection]
        # A signal to all processes, as `timeout` sends it, ends only workers that have not installed a handler yet.
        unborn = stop.signal and -(worker.process.exitcode or 0) in SIGNALS
        if (job := worker.job) and not unborn:
            message = f"the process of this run ended early: {how}"
            screen.line(f"{job.label}: {message}", worker.number)
            if job.failure or stop.reason():
                reached.append((job.cell, "error"))
            else:
                waiting.appendleft(Job(job.cell, job.label, failure=message))
            hire(worker.number)

    try:
        for number in range(len(where)):
            hire(number)
        leaving = False
        while crew:
            if stop.signal and not leaving:
                leaving = True
                for worker in crew.values():
                    worker.process.terminate()
            if stop.end is not None and time.monotonic() > stop.end + GRACE:
                screen.line(f"deadline: {len(crew)} of {len(where)} workers did not leave in time and are killed")
                break
            if compiling and not stop.reason():
                compiling.look(list(crew.values()), waiting)
            # A short timeout, since a signal only sets a flag.
            for connection in wait(list(crew), timeout=0.5):
                worker = crew[connection]
                kind, words = worker.hear()
                if kind == "gone":
                    relieve(worker, words)
                elif kind == "done":
                    reached.append((worker.job.cell, words))
                    worker.give(next_job())
                else:
                    getattr(screen, kind)(words, worker.number)
    finally:
        if compiling:
            compiling.close()
        for worker in crew.values():
            worker.process.kill()
    return reached


def _start(number: int, place: Place, runner: Runner, end: float | None, prepare: Callable[[], None]) -> Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, place, runner, end, prepare), name=f"worker {number}")
    # A terminal sends Ctrl-C to all processes. Workers ignore it from the start; the sweep asks them to leave.
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, earlier)
    # The worker alone holds its end, so that the pipe ends when it does.
    theirs.close()
    return Worker(process, ours, number)


def work(connection: Connection, place: Place, runner: Runner, end: float | None, prepare: Callable[[], None]) -> None:
    """The main function of a worker: takes jobs from the pipe and sends back progress and statuses, until it gets None.

    Args:
        connection: this worker's end of the pipe.
        place: what to compute on.
        runner: what to do with a cell.
        end: when to have left, on the monotonic clock.
        prepare: settings of JAX.
    """
    place.settle()
    prepare()
    screen = _Pipe(connection)
    with contextlib.suppress(EOFError), _WorkerStop(None if end is None else end - time.monotonic()) as stop:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while job := connection.recv():
            progress = Progress(job.label, screen)
            if job.failure:
                status = runner.fail(job.cell, job.failure, progress)
            else:
                status = runner.run(job.cell, stop, progress)
            screen.send("done", status)
    leave(0)


class _WorkerStop(Stop):
    """Also asks to leave when the sweep is gone; no signal ends a save, since the sweep can kill a worker."""

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number).name

    def reason(self, ahead: float = 0.0) -> str:
        parent = multiprocessing.parent_process()
        return "the sweep ended" if parent is None or not parent.is_alive() else super().reason(ahead)


class _Pipe(Screen):
    """The screen of the sweep, seen from a worker."""

    def __init__(self, connection: Connection):
        super().__init__()
        self.connection = connection

    def send(self, kind: str, words: str) -> None:
        """Says something to the sweep; if it is gone, `_WorkerStop` knows what to do."""
        with contextlib.suppress(OSError):
            self.connection.send((kind, words))

    def update(self, text: str, worker: int = 0) -> None:
        """Sends what is under way."""
        self.send("update", text)

    def line(self, text: str, worker: int = 0) -> None:
        """Sends a line that stays."""
        self.send("line", text)
