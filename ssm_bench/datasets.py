"""The data sets of the benchmark: `ssm_bench.datasets.load("text")`."""

from ssm_bench import registry
from ssm_bench.data import Dataset, Task, TaskSpec, load, spec

__all__ = ["Dataset", "Task", "TaskSpec", "load", "names", "spec"]


def names() -> tuple[str, ...]:
    """The names of all tasks, those of plug-ins included."""
    return registry.names("tasks")
