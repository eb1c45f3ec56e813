"""Small raw files in the forms that users have, from which the storm prepares data."""

import io
import json
import lzma
from pathlib import Path

import numpy as np
from PIL import Image

_PARTS = ("train", "val", "test")


def listops(folder: Path, seed: int = 0, rows: int = 3000) -> None:
    """`basic_{train,val,test}.tsv`."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for part in _PARTS:
        lines = ["Source\tTarget"]
        for _ in range(rows if part == "train" else rows // 10):
            digits = rng.integers(0, 10, rng.integers(2, 10)).tolist()
            operator, value = (("MAX", max(digits)), ("MIN", min(digits)))[rng.integers(2)]
            opened = f"[{operator} "
            for digit in digits:
                opened = f"( {opened} {digit} )"
            lines.append(f"( {opened} ] )\t{value}")
        (folder / f"basic_{part}.tsv").write_text("\n".join(lines) + "\n", "utf-8")


def retrieval(folder: Path, seed: int = 0) -> None:
    """`new_aan_pairs.{train,eval,test}.tsv`."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "eval", "test"):
        rows = []
        for _ in range(40):
            first, second = rng.integers(0, 30, 2).tolist()
            rows.append(f"{rng.integers(2)}.0\tP{first}\tP{second}\tpaper {first} {'x' * first}\tpaper {second}")
        (folder / f"new_aan_pairs.{part}.tsv").write_text("\n".join(rows) + "\n", "utf-8")


def papers(folder: Path) -> None:
    """`aan_docs.jsonl.xz` and `aan_pairs.npz`."""
    folder.mkdir(parents=True, exist_ok=True)
    with lzma.open(folder / "aan_docs.jsonl.xz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": f"P{i}", "text": f"paper {i} naïve"}) + "\n" for i in range(20))
    pairs = np.asarray([[i % 2, i, (7 * i + 1) % 20] for i in range(20)], np.int32)
    np.savez(folder / "aan_pairs.npz", train=pairs, eval=pairs[:5], test=pairs[5:10])


def reviews(folder: Path) -> None:
    """`imdb.jsonl.xz`."""
    folder.mkdir(parents=True, exist_ok=True)
    with lzma.open(folder / "imdb.jsonl.xz", "wt", encoding="utf-8") as file:
        for part, count in {"train": 40, "test": 20}.items():
            for i in range(count):
                row = {"split": part, "label": i % 2, "id": i // 2, "text": f"Review {i} of {part}: naïve. " * (1 + i)}
                file.write(json.dumps(row) + "\n")


def images(folder: Path) -> None:
    """`cifar10_gray.npz.xz`."""
    rng = np.random.default_rng(2)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for part, count in {"train": 40, "test": 20}.items():
        arrays[f"x_{part}"] = rng.integers(0, 256, (count, 32, 32), np.uint8)
        arrays[f"y_{part}"] = (np.arange(count) % 10).astype(np.uint8)
        arrays[f"exact_{part}"] = np.ones(count, bool)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with lzma.open(folder / "cifar10_gray.npz.xz", "wb") as file:
        file.write(buffer.getvalue())


def contours(folder: Path) -> None:
    """A folder of the release of Pathfinder, with 60 images of noise."""
    base = folder / "pathfinder32" / "curv_contour_length_14"
    (base / "metadata").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    for batch in (0, 1):
        (base / "imgs" / str(batch)).mkdir(parents=True, exist_ok=True)
        rows = []
        for i in range(30):
            path = base / "imgs" / str(batch) / f"sample_{i}.png"
            Image.fromarray(rng.integers(0, 256, (32, 32), np.uint8)).save(path)
            rows.append(f"imgs/{batch} {path.name} {i} {i % 2} 1.8 14 4.67 5 1.5 2 1")
        (base / "metadata" / f"{batch}.npy").write_text("\n".join(rows) + "\n", "utf-8")
