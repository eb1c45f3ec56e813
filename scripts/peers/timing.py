"""What all peers share: the sizes of a cell, a step's median time and memory, and the record of both."""

import contextlib
import importlib.metadata
import platform
import statistics
import sys
import time
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clones import Repository

from ssm_bench.bench.recording import Findings
from ssm_bench.data import spec
from ssm_bench.record import SPEED_VERSION, SpeedRecord, validate_speed
from ssm_bench.sweep.recipe import resolve
from ssm_bench.training import provenance

#: Steps between two waits for the device, how many such groups are timed, and when to stop with fewer.
GROUP, REPEATS, SECONDS = 5, 15, 5.0

#: Different tokens in the authors' data, padding included (s5/dataloading.py); tasks of pixels have none.
VOCABULARY = {"listops": 20, "text": 135, "retrieval": 98}

WARM = "random data at the padded shape, the batch already on the device, the rate not changed between steps"


class Cell:
    """Our recipe of a model for a task, which is the published one, at the padded length; or at toy size."""

    def __init__(self, model: str, task: str, *, toy: bool = False):
        self.model, self.task, self.toy = model, task, toy
        self.config = resolve(model, task, preset="paper")
        known = spec(task)
        self.classes, self.pairs = known.classes, known.documents == 2
        self.vocabulary = VOCABULARY.get(task, 0)
        self.length = 64 if toy else known.max_length
        self.batch = 2 if toy else self.config.train.batch_size
        self.layers = min(2, self.config.model.layers) if toy else self.config.model.layers
        #: Sequences of a batch: two for each pair of documents.
        self.rows = self.batch * known.documents

    def sizes(self, step_ms: float, *, directions: int, bits: int = 32) -> dict[str, float]:
        """What the tables need to know of a step, and its rates."""
        return {
            "batch_size": self.batch,
            "length": self.length,
            "directions": directions,
            "activation_bits": bits,
            "sequences_per_second": round(1000 * self.batch / step_ms, 2),
            "tokens_per_second": round(1000 * self.rows * self.length / step_ms, 1),
        }


def findings(found: Mapping[str, float], notes: Sequence[str]) -> Findings:
    """The measurements and sizes of a step of one peer, and notes on them."""
    collected = Findings(notes=[*notes])
    collected.add(found)
    return collected


def median_ms(step: Callable[[], object], wait: Callable[[], object]) -> dict[str, float]:
    """Median milliseconds of a step in groups and alone.

    Args:
        step: starts one step.
        wait: waits for the device.
    """
    for _ in range(3):
        step()
    wait()
    found = {}
    for name, group in (("step_ms_one_per_call", 1), ("step_ms", GROUP)):
        times, end = [], time.monotonic() + SECONDS
        while len(times) < 3 or (len(times) < REPEATS and time.monotonic() < end):
            begun = time.perf_counter()
            for _ in range(group):
                step()
            wait()
            times.append((time.perf_counter() - begun) / group)
        found[name] = round(1000 * statistics.median(times), 4)
    return found


def on_host() -> contextlib.AbstractContextManager:
    """JAX's arrays are made by the CPU: the many small programs of an initialization compile slowly for a GPU."""
    import jax

    try:
        return jax.default_device(jax.devices("cpu")[0])
    except RuntimeError:  # JAX_PLATFORMS names the GPU alone
        return contextlib.nullcontext()


def without_bars() -> None:
    """Takes the place of tqdm, whose bars would fill the screen, and which need not be installed."""
    bars = types.ModuleType("tqdm")
    vars(bars)["tqdm"] = iter
    sys.modules["tqdm"] = bars


def random_batch(cell: Cell) -> tuple[Any, Any]:
    """Inputs of a JAX peer, (rows, length, width), tokens as one-hot vectors; and a label for each row."""
    import jax

    key = jax.random.PRNGKey(1)
    shape = (cell.rows, cell.length)
    if cell.vocabulary:
        x = jax.nn.one_hot(jax.random.randint(key, shape, 1, cell.vocabulary), cell.vocabulary)
    else:
        x = jax.random.normal(key, (*shape, 1))
    return x, jax.random.randint(key, (cell.rows,), 0, cell.classes)


def time_jax(train_step: Any, state: Any, arguments: tuple, static: tuple) -> dict[str, float]:
    """Compiles and times `train_step(state, *arguments, *static)`, which gives the next state and a loss."""
    import jax

    state, arguments = jax.device_put((state, arguments), jax.devices()[0])
    begun = time.perf_counter()
    compiled = train_step.lower(state, *arguments, *static).compile()
    found = {"compile_seconds": round(time.perf_counter() - begun, 2)}
    if (memory := compiled.memory_analysis()) is not None:
        found["temporary_bytes"] = int(memory.temp_size_in_bytes)
    if needed := provenance.needed_memory_bytes(compiled):
        found["peak_bytes"] = needed
    latest = (state, None)

    def step() -> None:
        nonlocal latest
        latest = compiled(latest[0], *arguments)

    return found | median_ms(step, lambda: jax.block_until_ready(latest))


def time_torch(step: Callable[[], object]) -> dict[str, float]:
    """Times a step in PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]

    if not torch.cuda.is_available():
        return median_ms(step, lambda: None)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return median_ms(step, torch.cuda.synchronize) | {"peak_bytes": int(torch.cuda.max_memory_allocated())}


def torch_device() -> str:
    """What PyTorch calls the device to time on."""
    import torch  # pyright: ignore[reportMissingImports]

    return "cuda" if torch.cuda.is_available() else "cpu"


def device(framework: str) -> dict[str, Any]:
    """The one device that was timed, as records name it; framework is "jax" or "torch"."""
    if framework == "jax":
        return provenance.device()
    import torch  # pyright: ignore[reportMissingImports]

    if torch.cuda.is_available():
        return {"platform": "gpu", "kind": torch.cuda.get_device_name(0), "count": 1}
    return {"platform": "cpu", "kind": "cpu", "count": 1}


def record(
    found: Findings,
    *,
    where: Mapping[str, Any],
    packages: Sequence[str],
    repository: Repository | None,
    model: str | None = None,
    task: str | None = None,
    operation: str = "",
) -> SpeedRecord:
    """The record of a peer.

    Args:
        where: the device, as `device` gives it.
        packages: those that the peer runs on; their versions are recorded.
        repository: the authors' code; None for modules of PyTorch.
        operation: what was timed where it is no model.
    """
    versions = {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}
    if repository is None:
        owner, implementation = "pytorch", f"pytorch/pytorch {versions['torch']}"
        revision = {"commit": versions["torch"], "dirty": False}
    else:
        owner = repository.name.partition("/")[0].lower()
        implementation = f"{repository.name}@{repository.commit[:7]}"
        revision = {"commit": repository.commit, "dirty": bool(repository.replacements)}
    raw = {
        "schema_version": SPEED_VERSION,
        "kind": "speed",
        "benchmark": "scan" if operation else "step",
        "name": f"peer-{owner}-{operation or f'{model}-{task}'}-{where['platform']}",
        "model": model,
        "task": task,
        "operation": operation,
        "implementation": implementation,
        "sizes": found.sizes,
        "measurements": found.to_dicts(),
        "notes": [note for note in (*found.notes, provenance.note()) if note],
        "config_hash": None,
        "device": {**where, "shared": provenance.shared()},
        "versions": versions,
        "revision": revision,
        "created": provenance.now(),
    }
    return validate_speed(raw)
