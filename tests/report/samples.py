"""Records to make tables from. The numbers are invented; none is a result."""

from pathlib import Path

from ssm_bench.record import RunRecord, config_hash, differences, store, validate
from ssm_bench.record.identity import base_defaults

CLASSES = {"listops": 10, "text": 2, "retrieval": 2, "image": 10, "pathfinder": 2, "pathx": 2, "toy": 4}
TITLES = {
    "listops": "ListOps",
    "text": "Text",
    "retrieval": "Retrieval",
    "image": "Image",
    "pathfinder": "Pathfinder",
    "pathx": "Path-X",
    "toy": "Toy & co_1",
}
MODELS = {
    "s5": "S5",
    "lru": "LRU",
    "s4d": "S4D",
    "transformer": "Transformer",
    "zzz": "Aardvark_2 {100%}",
    "accents": "Nystr\u00f6mformer",
}
TABLE_TWO = "arXiv 2403.16899 Table II"


def record(
    model: str,
    task: str,
    accuracy: float | None,
    *,
    seed: int = 0,
    status: str = "ok",
    message: str = "",
    preset: str = "budget",
    protocol: str = "strict",
    kind: str = "official",
    identity: str | None = None,
    notes: tuple[str, ...] = (),
    checksum: str = "c0ffee00",
    done: int = 500,
    planned: int = 500,
    published: int | None = 1000,
    row: str | None = "",
    config: dict | None = None,
    created: str = "2026-01-01T00:00:00Z",
    dirty: bool = False,
    seconds: float = 600.0,
    parameters: int = 250_000,
    state_size: int | None = 512,
    device: str = "Device 80GB",
    shared: bool = False,
    computed: dict[str, str] | None = None,
    curve: tuple[tuple[int, float], ...] = (),
) -> RunRecord:
    """One record; `accuracy` in percent, `curve` as (step, validation accuracy in percent)."""
    config = {"model": model, "task": task, "protocol": protocol} | (config or {})
    classes = CLASSES[task]
    histogram = [30] + [70 // (classes - 1)] * (classes - 1) if classes > 2 else [48, 52]
    title = MODELS.get(model, model)
    row = title if row == "" else row
    return validate(
        {
            "schema_version": 2,
            "status": status,
            "message": message,
            "notes": [],
            "preset": preset,
            "protocol": protocol,
            "task": {"name": task, "title": TITLES[task], "classes": classes, "length": 1024},
            "model": {
                "name": model,
                "title": title,
                "bibtex": f"@misc{{{model},\n  title = {{{title}}}\n}}",
                "published": {"row": row, "source": TABLE_TWO} if row else None,
                "parameters": parameters,
                "state_size": state_size,
            },
            "data": {
                "identity": identity or f"Real {TITLES[task]}",
                "kind": kind,
                "source": "files of the user",
                "checksum": checksum,
                "counts": {"train": 1000, "validation": 100, "test": sum(histogram)},
                "label_histogram": {"test": histogram},
                "notes": list(notes),
            },
            "seed": seed,
            "config": config,
            "differences": differences(config, base_defaults()),
            "config_hash": config_hash(differences(config, base_defaults())),
            "together": [],
            "steps": {"done": done, "planned": planned, "published": published},
            "result": None
            if accuracy is None
            else {
                "test_accuracy": accuracy / 100,
                "test_loss": 0.5,
                "validation_accuracy": accuracy / 100,
                "best_step": done,
            },
            "curve": [
                {
                    "step": step,
                    "train_loss": 0.5,
                    "train_accuracy": None,
                    "validation_loss": 0.5,
                    "validation_accuracy": value / 100,
                    "seconds": seconds * step / planned,
                }
                for step, value in curve
            ],
            "cost": {
                "seconds_train": seconds,
                "seconds_compile": 10.0,
                "seconds_evaluate": 5.0,
                "sequences_per_second": 1000.0,
                "peak_memory_bytes": None,
            },
            "computed": computed or {},
            "device": {"platform": "gpu", "kind": device, "count": 1, "shared": shared},
            "versions": {"jax": "0.10.2"},
            "revision": {"commit": "33f0217", "dirty": dirty},
            "code": None,
            "parts": [],
            "created": created,
        }
    )


def budget() -> list[RunRecord]:
    """Every case a table must tell apart, once."""
    complete = [
        record("lru", task, value, seed=seed)
        for task, value in zip(CLASSES, (58.0, 88.0, 89.5, 88.0, 94.0, 93.0), strict=False)
        for seed, value in enumerate((value, value + 0.5, value + 1.0))
    ]
    s5 = [
        # Three seeds; the third on Retrieval failed.
        *(record("s5", "listops", value, seed=seed) for seed, value in enumerate((60.0, 61.0, 62.0))),
        record("s5", "text", 87.25, dirty=True),
        *(record("s5", "retrieval", value, seed=seed) for seed, value in enumerate((90.0, 91.0))),
        record("s5", "retrieval", None, seed=2, status="diverged", message="loss is nan\nat step 120", done=120),
        # Other data in one column: rebuilt here, official for the others.
        record("s5", "image", 88.5, kind="rebuilt", identity="Gray CIFAR-10 from color"),
        # Two configs: more of the schedule wins, the other one is named.
        record("s5", "pathfinder", 93.0, config={"lr": 0.1}, done=1000, planned=1000),
        record("s5", "pathfinder", 95.0, config={"lr": 0.2}, created="2026-02-01T00:00:00Z"),
        record("s5", "pathx", None, status="diverged", message="50% of A_1 is {nan} & <inf>", done=29, planned=100),
    ]
    transformer = [
        record("transformer", "listops", 36.0, checksum="decade00"),
        record("transformer", "text", 64.0, published=None),
        record("transformer", "retrieval", None, status="partial", done=3, planned=500),
        record("transformer", "image", None, status="error", message="x" * 300, done=0),
        # Pathfinder is missing.
        record("transformer", "pathx", None, status="oom", message="needs 93 GiB", done=0),
    ]
    others = [
        record("zzz", "text", 87.25, row=None),
        record("zzz", "toy", 70.0, row="No such row", kind="generated", notes=("cut to 64 tokens",)),
    ]
    return [*complete, *s5, *transformer, *others]


def quick() -> list[RunRecord]:
    """Toy size: synthetic data, and real data that was cut."""
    return [
        record("s5", "listops", 30.0, preset="quick", kind="synthetic", identity="Stand-in", done=10, planned=10),
        record("s5", "text", 70.0, preset="quick", notes=("cut to 256 tokens", "1,000 examples"), done=10, planned=10),
        record("lru", "text", None, preset="quick", status="timeout", notes=("cut to 256 tokens", "1,000 examples")),
    ]


def paper_protocol() -> list[RunRecord]:
    """The same preset under the other protocol."""
    return [record("s5", "text", 89.0, protocol="paper", config={"lr": 0.1})]


def write_all(records: list[RunRecord], root: Path) -> None:
    """Writes records under `root`."""
    for one in records:
        store.write(one, root)
