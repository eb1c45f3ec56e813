"""Recipes have the values that a second reading of their sources gave (tests/golden/recipes.csv)."""

import csv
import math
from pathlib import Path

import pytest

from ssm_bench.config import leaves
from ssm_bench.sweep.recipe import resolve

TABLE = Path(__file__).parents[1] / "golden" / "recipes.csv"

MODELS = (
    "s4", "s4d", "s5", "lru", "s6", "rg_lru", "dss", "mamba",
    "transformer", "linear_transformer", "performer", "reformer", "bigbird", "nystromformer", "luna",
    "mega", "long_conv",
    "local_attention", "sparse_transformer", "longformer", "linformer", "sinkhorn_transformer", "synthesizer",
    "rotary_transformer",
)  # fmt: skip

TASKS = ("listops", "text", "retrieval", "image", "pathfinder", "pathx")

# Quotients and roots, such as one epoch of 75, are rounded in the table, in the recipe or in both; all else is exact.
DERIVED = ("optimizer.lr", "optimizer.warmup", "optimizer.ssm_lr/optimizer.lr", "mixer.max_phase")
ROUNDING = 1e-3


def read() -> dict[tuple[str, str], list[dict[str, str]]]:
    cells = {}
    with TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            cells.setdefault((row["model"], row["task"]), []).append(row)
    return cells


CELLS = read()


def differs(setting: str, value: str, config: dict) -> str:
    """What is wrong with a setting, or a quotient of two; empty: nothing."""
    names = setting.split("/")
    if missing := [name for name in names if name not in config]:
        return f"no setting {missing[0]}"
    found = config[setting] if len(names) == 1 else config[names[0]] / config[names[1]]
    if isinstance(found, bool):
        same = value == str(found).lower()
    elif isinstance(found, int | float):
        same = math.isclose(found, float(value), rel_tol=ROUNDING if setting in DERIVED else 0.0)
    else:
        same = value == found
    return "" if same else f"{setting} is {found!r}, published {value}"


@pytest.mark.parametrize(("model", "task"), CELLS)
def test_a_recipe_has_the_published_values(model, task):
    config = leaves(resolve(model, task, preset="paper").to_dict())
    wrong = [
        f"{problem} ({row['source']})"
        for row in CELLS[model, task]
        if (problem := differs(row["setting"], row["value"], config))
    ]
    assert not wrong, f"{model} on {task}:\n" + "\n".join(wrong)


def test_every_value_has_a_source_and_every_model_all_tasks():
    rows = [row for cell in CELLS.values() for row in cell]
    assert [row for row in rows if not all(row.values())] == []
    assert set(CELLS) == {(model, task) for model in MODELS for task in TASKS}
    keys = [(row["model"], row["task"], row["setting"]) for row in rows]
    assert sorted(set(keys)) == sorted(keys)
