"""The Ray engine: every cell is a task of a Ray cluster.

Ray starts a task on a free GPU, or on a free CPU core if there are no GPUs. If the node is lost, Ray starts the task
again on another node, and the cell resumes from its last checkpoint. All nodes must share a file system with locks,
checkpoints and records.
"""

import importlib
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from ssm_bench.errors import UserError
from ssm_bench.sweep.cells import Cell, Runner, check, labels, returning
from ssm_bench.sweep.progress import Progress
from ssm_bench.sweep.workers import GRACE, Job
from ssm_bench.training.stop import Stop

#: Number of times that Ray restarts a cell whose node or process was lost, before the cell counts as failed.
RETRIES = 3

#: Prefixes of the environment variables that tasks inherit from the command.
VARIABLES = ("SSM_BENCH_", "JAX_", "XLA_")


def sweep(
    wanted: Sequence[Cell], runner: Runner, stop: Stop, prepare: Callable[[], None], *, address: str = ""
) -> list[tuple[Cell, str]]:
    """Runs cells as tasks of a Ray cluster.

    Args:
        wanted: cells, in the order to start them.
        runner: runs a cell; its folders are absolute paths.
        stop: deadline and signals, on which tasks save and exit.
        prepare: configures JAX in each task.
        address: address of the cluster; empty: RAY_ADDRESS, else a cluster on this machine, which is started if there
            is none.

    Returns:
        Every cell that was reached, with its status, in the order in which they ended.

    Raises:
        UserError: an error of `cells.check`, no Ray, no cluster, or more devices per cell than a node has.
    """
    check(wanted, runner)
    label = dict(zip(wanted, labels(wanted), strict=True))
    # The clocks of the nodes have only the time of day in common.
    end = None if stop.end is None else time.time() + stop.end - time.monotonic()
    ray = _connected(address)
    try:
        gpus = max(int(node["Resources"].get("GPU", 0)) for node in ray.nodes() if node["Alive"])
        if runner.devices > max(gpus, 1):
            raise UserError(
                f"--devices must be at most {max(gpus, 1)}, the number of GPUs of a node; got {runner.devices}"
            )
        # One process per cell, which is Ray's default for GPUs: JAX does not release memory that it has allocated.
        options = {"num_cpus": 1, "num_gpus": runner.devices if gpus else 0, "max_retries": RETRIES, "max_calls": 1}
        task = ray.remote(**options)(_run)

        def visit(some: Sequence[Cell]) -> list[tuple[Cell, str]]:
            jobs = [Job(cell, label[cell]) for cell in some]
            return _await(ray, lambda job: task.remote(job, runner, end, prepare), jobs, stop)

        return returning(visit, wanted, runner)
    finally:
        # This also ends the tasks that are still running.
        ray.shutdown()


def _await(ray: Any, submit: Callable[[Job], Any], jobs: Sequence[Job], stop: Stop) -> list[tuple[Cell, str]]:
    """Submits jobs and waits until all are done, or until the running ones have exited after a request to stop."""
    waiting = {submit(job): job for job in jobs}
    reached, leaving = [], False
    while waiting and (stop.end is None or time.monotonic() < stop.end + GRACE):
        if stop.reason() and not leaving:
            leaving = True
            for reference in waiting:
                # A running task receives a Ctrl-C, which its `Stop` handles as a request to save.
                ray.cancel(reference)
        # A short timeout, since a signal only sets a flag.
        for reference in ray.wait(list(waiting), timeout=0.5)[0]:
            job = waiting.pop(reference)
            try:
                status = ray.get(reference)
            except ray.exceptions.TaskCancelledError:
                continue
            except ray.exceptions.RayError as error:
                if not job.failure and not leaving:
                    message = f"the task of this run was lost {1 + RETRIES} times: {type(error).__name__}"
                    waiting[submit(Job(job.cell, job.label, failure=message))] = job
                    continue
                status = "error"
            if status:
                reached.append((job.cell, status))
    return reached


def _run(job: Job, runner: Runner, end: float | None, prepare: Callable[[], None]) -> str:
    """A task: runs a cell, or records it as failed; returns its status, or None if there was no time to start.

    Ray shows its standard error on the terminal of the sweep.
    """
    prepare()
    progress = Progress(job.label)
    with Stop(None if end is None else end - time.time()) as stop:
        if job.failure:
            return runner.fail(job.cell, job.failure, progress)
        return "" if stop.reason(ahead=job.cell.seconds) else runner.run(job.cell, stop, progress)


def _connected(address: str) -> Any:
    """The module ray, connected to a cluster.

    Raises:
        UserError: it is not installed, or no cluster answers.
    """
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise UserError('--engine ray requires the package ray: pip install "ssm-bench[ray]"') from None
    variables = {name: value for name, value in os.environ.items() if name.startswith(VARIABLES)}
    try:
        ray.init(address=address or None, runtime_env={"env_vars": variables})
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = address or os.environ.get("RAY_ADDRESS", "this machine")
        raise UserError(f"--engine ray: no cluster at {where}: {' '.join(str(error).split())[:200]}") from error
    return ray
