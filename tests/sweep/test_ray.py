"""Sweeps on Ray: a cluster of two nodes on this machine, one of which is killed; requests to stop; mistakes."""

import sys
import threading
import time
from pathlib import Path

import pytest

from ssm_bench.cli import main
from ssm_bench.errors import UserError
from ssm_bench.record import store
from ssm_bench.sweep import ray as engine
from ssm_bench.sweep.cells import Cell
from ssm_bench.training.stop import Stop
from tests.sweep.stand_in import StandIn, nothing

try:
    from ray.cluster_utils import Cluster
except ImportError:
    Cluster = None

needs_ray = pytest.mark.skipif(Cluster is None, reason="ray is not installed (it is in the extra `ray`)")
# Ray leaves sockets and log files to the garbage collector.
own_warnings = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")

ROOT = Path(__file__).parents[2]

SIZES = ("--config.model.d_model=8", "--config.model.layers=1", "--config.task.max_length=64")
SWEEP = ("sweep", "--models", "lru", "--tasks", "text", "--seeds", "0,1,2", "--data", "synthetic", "--no-table", *SIZES)


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    """A head without CPU cores, and two nodes with one each."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # Of Ray itself, for the processes of its nodes.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [found.add_node(num_cpus=1) for _ in range(2)]
    yield found, nodes
    found.shutdown()


def raylet(node):
    """The process of a node that starts its tasks."""
    return node.all_processes["raylet"][0].process.pid


def parent(process):
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def kill_the_first_busy_node(cluster, nodes, checkpoints, killed):
    """Kills the node of the first cell whose lock is held."""
    while not killed:
        for lock in checkpoints.rglob(".*.lock"):
            if words := lock.read_text().split():
                above = parent(words[0])
                (node,) = [node for node in nodes if raylet(node) == above]
                cluster.remove_node(node, allow_graceful=False)
                killed.append(lock)
                return
        time.sleep(0.05)


def essence(record):
    """What must not depend on where a cell ran."""
    curve = [{k: v for k, v in point.items() if k != "seconds"} for point in record.to_dict()["curve"]]
    return record.seed, record.status, record.result, curve


@needs_ray
@own_warnings
def test_a_node_that_is_killed_loses_no_cell_and_no_bit(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, nodes = cluster
    killed = []
    killer = threading.Thread(target=kill_the_first_busy_node, args=(found, nodes, tmp_path / "checkpoints", killed))
    killer.start()
    assert main([*SWEEP, "--engine", "ray", "--address", found.address]) == 0
    killer.join()
    assert killed
    records = store.read_all(tmp_path / "results")
    assert [record.seed for record in records] == [0, 1, 2]
    assert main([*SWEEP, "--jobs", "1", "--results", "alone", "--checkpoints", "alone/ckpt"]) == 0
    assert [*map(essence, records)] == [*map(essence, store.read_all(tmp_path / "alone"))]


@needs_ray
@own_warnings
def test_a_process_that_is_always_lost_is_a_failure_and_a_request_to_stop_saves(cluster, tmp_path):
    stop, wanted = Stop(), [Cell(model=model, task="text", seed=0) for model in ("killed", "long", "quick")]

    def ask():
        # Only the long cell is left.
        while not all((tmp_path / name).exists() for name in ("long-0-started", "quick-0-left", "killed-0-failed")):
            time.sleep(0.05)
        stop.signal = "SIGTERM"

    asker = threading.Thread(target=ask)
    asker.start()
    reached = engine.sweep(wanted, StandIn(tmp_path), stop, nothing, address=cluster[0].address)
    asker.join()
    assert {cell.model: status for cell, status in reached} == {"killed": "error", "quick": "ok", "long": "partial"}
    assert "lost 4 times" in (tmp_path / "killed-0-failed").read_text()
    assert (tmp_path / "long-0-left").exists()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--engine", "ray", "--budget", "4h"), "--budget cannot be used with --engine ray, which has no common time"),
        (("--engine", "ray", "--jobs", "2"), "--jobs cannot be used with --engine ray, which runs one cell per"),
        (("--engine", "ray", "--compile-ahead"), "--compile-ahead cannot be used with --engine ray"),
        (("--engine", "ray", "--nodes", "2"), "--nodes requires --engine slurm"),
        (("--address", "head:6379"), "--address requires --engine ray"),
    ],
)
def test_what_does_not_go_with_an_engine_is_one_sentence(command, flags, sentence):
    code, _, errors = command(*SWEEP, *flags)
    assert code == 2
    assert errors.startswith(f"error: {sentence}") and errors.count("\n") == 1


def test_without_ray_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r'^--engine ray requires the package ray: pip install "ssm-bench\[ray\]"$'):
        engine._connected("")
