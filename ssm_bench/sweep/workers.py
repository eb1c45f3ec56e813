"""Worker processes that share the cells of a sweep, each with its own GPU or its own part of the CPU cores.

The main process sends one cell at a time to a worker over a pipe and shows the progress that the worker sends back. On
machines with GPUs, it never starts JAX, which would reserve all of them.
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
from ssm_bench.sweep.progress import Progress, Screen, TimeLeft
from ssm_bench.training.stop import SIGNALS, Stop, leave

#: Default limit of CPU workers, since each needs about a gigabyte of memory.
MOST_BY_DEFAULT = 8

#: Seconds after the deadline at which workers that are still running are killed.
GRACE = 5.0

#: Fraction of a GPU's memory that several workers on it share.
GPU_MEMORY = 0.9

#: Seconds after the start of a cell before the next one is compiled. By then, most programs of the cell are compiled,
#: and skipped cells have ended.
AHEAD_AFTER = 15.0


@dataclass(frozen=True, kw_only=True)
class Place:
    """The devices of one worker.

    Attributes:
        gpu: one or several GPUs, as in CUDA_VISIBLE_DEVICES; None: the CPU.
        memory: fraction of the GPU's memory; None: JAX's default.
        cores: CPU cores, if `gpu` is None.
        crowded: whether other processes also use the device, so that times do not measure speed.
    """

    gpu: str | None = None
    memory: float | None = None
    cores: tuple[int, ...] = ()
    crowded: bool = False

    def settle(self) -> None:
        """Restricts this process to its place, before JAX is started."""
        if self.crowded or self.memory is not None:
            os.environ["SSM_BENCH_SHARED"] = "1"
        if self.gpu is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.gpu
            if self.memory is not None:
                os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{self.memory:.2f}"
        elif self.cores and hasattr(os, "sched_setaffinity"):
            # XLA starts one thread per available core.
            os.sched_setaffinity(0, self.cores)


def gpus() -> list[str]:
    """The GPUs that JAX would find, in the notation of CUDA_VISIBLE_DEVICES, without starting JAX."""
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
    """The number of JAX devices on this machine without GPUs."""
    import jax

    return jax.device_count()


def on_tpu() -> bool:
    """Whether JAX would use a TPU, which only one process can use."""
    return importlib.util.find_spec("libtpu") is not None and os.environ.get("JAX_PLATFORMS", "tpu") != "cpu"


def places(jobs: int = 0, devices: int = 1) -> list[Place]:
    """The places of `jobs` workers with this number of devices each; 0: the default number of workers.

    The default is one per GPU; without a GPU, one per core up to MOST_BY_DEFAULT; on a TPU, one.

    Raises:
        UserError: workers with several devices need more devices than there are.
    """
    found = gpus()
    tpu = on_tpu()
    if devices > 1:
        there = len(found) or host_devices()
        jobs = jobs or (1 if tpu else max(there // devices, 1))
        if jobs * devices > there:
            most = f"at most {there}, the number of available devices"
            raise UserError(f"--jobs x --devices must be {most}; got {jobs} x {devices}")
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
    """A cell for a worker to run or, with a message, to record as failed."""

    cell: Cell
    label: str
    failure: str = ""


@dataclass
class Worker:
    """A worker process, as seen by the main process.

    Attributes:
        process: the process.
        connection: the main process's end of the pipe.
        number: its position on the screen.
        job: its current job; None if it was told to exit.
        since: start time of the job, on the monotonic clock.
    """

    process: BaseProcess
    connection: Connection
    number: int
    job: Job | None = None
    since: float = math.inf

    def give(self, job: Job | None) -> None:
        """Sends a job to the worker; None tells it to exit. A dead worker is detected when its pipe is read."""
        self.job, self.since = job, math.inf if job is None else time.monotonic()
        with contextlib.suppress(OSError):
            self.connection.send(job)

    def hear(self) -> tuple[str, str]:
        """Its next message: ("update" or "line", text), ("done", status), or ("gone", reason of its end)."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            return "gone", f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


class Ahead:
    """Compiles the programs of the next cell in a separate process while workers train.

    The worker that gets the cell finds the programs in the compilation cache. Errors in the separate process are
    ignored, because the worker will report them.
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
    # Training has priority on the cores and in GPU memory.
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
    """Runs cells in worker processes; if a worker dies, its cell is recorded as failed, and a new worker replaces it.

    Args:
        wanted: cells, in the order to start them.
        runner: runs a cell.
        stop: deadline and signals, on which workers save and exit.
        where: a place for each worker.
        prepare: configures JAX in each worker.
        ahead: whether to compile the next cell while workers train; records then mark the device as shared.

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
    """Distributes jobs to new workers until all are done or a stop is requested; see `sweep`."""
    waiting = deque(jobs)
    reached: list[tuple[Cell, str]] = []
    screen, left, crew = Screen(), TimeLeft(len(jobs), len(where)), {}
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
            # Recording a failure takes no time.
            if not stop.reason(ahead=0.0 if job.failure else job.cell.seconds):
                waiting.remove(job)
                return job
        return None

    def relieve(worker: Worker, how: str) -> None:
        del crew[worker.connection]
        # A signal to all processes, such as that of `timeout`, ends only workers without an installed handler.
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
                screen.line(f"deadline: {len(crew)} of {len(where)} workers did not exit in time and are killed")
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
                    if estimate := left.ended(time.monotonic() - worker.since):
                        screen.line(estimate, worker.number)
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
    # A terminal sends Ctrl-C to all processes. Workers ignore it; the main process tells them to exit.
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, earlier)
    # Only the worker holds this end, so that the pipe closes when the worker ends.
    theirs.close()
    return Worker(process, ours, number)


def work(connection: Connection, place: Place, runner: Runner, end: float | None, prepare: Callable[[], None]) -> None:
    """The main function of a worker: receives jobs from the pipe and sends progress and statuses, until it gets None.

    Args:
        connection: this worker's end of the pipe.
        place: the devices of this worker.
        runner: runs a cell.
        end: time by which to exit, on the monotonic clock.
        prepare: configures JAX.
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
    """A `Stop` that also stops if the main process has ended; signals never interrupt a save."""

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number).name

    def reason(self, ahead: float = 0.0) -> str:
        parent = multiprocessing.parent_process()
        return "the sweep ended" if parent is None or not parent.is_alive() else super().reason(ahead)


class _Pipe(Screen):
    """The screen of the main process, as seen by a worker."""

    def __init__(self, connection: Connection):
        super().__init__()
        self.connection = connection

    def send(self, kind: str, words: str) -> None:
        """Sends a message to the main process; if it has ended, `_WorkerStop` stops this worker."""
        with contextlib.suppress(OSError):
            self.connection.send((kind, words))

    def update(self, text: str, worker: int = 0) -> None:
        """Sends the live line."""
        self.send("update", text)

    def line(self, text: str, worker: int = 0) -> None:
        """Sends a permanent line."""
        self.send("line", text)
