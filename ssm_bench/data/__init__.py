"""The data of every task: prepared once into checksummed arrays, opened in an instant."""

from ssm_bench.data.dataset import Dataset, load, spec, tasks
from ssm_bench.data.task import Task, TaskSpec

__all__ = ["Dataset", "Task", "TaskSpec", "load", "spec", "tasks"]
