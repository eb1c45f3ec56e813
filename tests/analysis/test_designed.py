"""Analyses of plans: invented records with known answers, and the verb from a plan to its figure."""

import numpy as np
import pandas as pd
import pytest

from ssm_bench.analysis import designed
from ssm_bench.cli import main
from ssm_bench.report import analysis
from ssm_bench.report.check import problems
from ssm_bench.sweep.recipe import resolve
from tests.report.samples import record

# Eigenvalues are float32.
FLOAT32 = 1e-4


def test_locality_has_the_positions_of_each_limit():
    def run(model, accuracy, pieces=0, **mixer):
        config = {"model": {"mixer": model, "window": pieces}, "mixer": mixer}
        return record(model, "text", accuracy, config=config)

    table = designed.locality(
        [
            *(run("s4d", 60.0, pieces=4), run("s4d", 80.0)),
            *(run("transformer", 70.0, window=16), run("transformer", 65.0, pieces=16), run("transformer", 75.0)),
        ]
    )
    pieces, layers = designed.LIMITS
    # A run without a limit is the end of both curves of its model.
    assert list(table["limit"]) == [pieces, pieces, layers, pieces, pieces, layers]
    assert list(table["positions"]) == [4, 1024, 16, 16, 1024, 1024]
    assert list(table["unlimited"]) == [False, True, False, False, True, True]
    assert (table["chance"] == 50).all()
    lines = [line.get_xydata().tolist() for line in analysis.draw_locality(table, "title").axes[0].lines]
    for curve in ([[4, 60], [1024, 80]], [[16, 70], [1024, 75]], [[16, 65], [1024, 75]]):
        assert curve in lines


def test_probes_draws_state_sizes_only_where_there_are_several():
    runs = [
        record("s4d", "text", 60.0, state_size=8),
        record("s4d", "text", 70.0, state_size=64),
        record("transformer", "text", 90.0, state_size=None),
        record("s4d", "listops", 20.0, state_size=64),
    ]
    table = designed.probes(runs)
    assert list(table["accuracy"]) == [60, 70, 90, 20] and table["state_size"].isna().sum() == 1
    figure = analysis.draw_probes(table, "title")
    # Bars for two probes, and one panel of curves.
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["Text", "ListOps", "Text"]


def test_an_interval_is_that_of_the_seeds_of_a_setting():
    table = designed.probes([record("s4d", "text", score, seed=seed) for seed, score in enumerate((60.0, 62.0, 64.0))])
    # Student's t with two degrees of freedom: 4.3027 * 2 / sqrt(3).
    assert len(table["records"][0].split()) == 3
    assert table["seeds"][0] == 3 and table["half_width"][0] == pytest.approx(4.9683, abs=1e-3)


@pytest.mark.parametrize(
    ("model", "settings", "low", "high"),
    [
        ("lru", ("mixer.r_min=0.985", "mixer.r_max=0.995"), 0.985, 0.995),
        # The gate of an RG-LRU is half open at first: about the square root of the radius.
        ("rg_lru", ("mixer.r_min=0.985", "mixer.r_max=0.995"), 0.985, 0.999),
        # exp(-j dt) with j = 1, ..., 4 at toy size, and steps that inputs change a little.
        ("s6", ("mixer.dt_min=0.005", "mixer.dt_max=0.015"), np.exp(-4 * 0.03), np.exp(-0.002)),
    ],
)
def test_the_initial_decay_is_that_of_the_settings(model, settings, low, high):
    overrides = [f"--config.{setting}" for setting in ("model.layers=1", *settings)]
    config = resolve(model, "text", preset="quick", overrides=overrides).to_dict()
    run = record(model, "text", 60.0, config=config)
    found = designed.initial_decay(run)
    assert low < found["modulus"] < high
    assert found["steps"] == pytest.approx(-1 / np.log(found["modulus"]), rel=0.05)
    table = designed.selectivity([run])
    assert table["steps"][0] == found["steps"]
    assert analysis.draw_selectivity(table, "title").axes


PLAN = """
- group: a
  models: [lru]
  tasks: [parity-32]
  preset: quick
  data: synthetic
  overrides: &toy {train.steps: 2, train.evaluations: 1, train.chunk: 2, model.layers: 1, task.examples: 64}

- group: b
  models: [lru]
  tasks: [parity-32]
  preset: quick
  data: synthetic
  overrides: {<<: *toy, model.window: 8}
"""


def test_the_verb_reads_the_records_of_a_plan(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.yaml").write_text(PLAN)
    assert main(["analyze", "locality", "--plan", "plan.yaml"]) == 2
    assert "results has no finished run of plan.yaml; train some with `ssm-bench sweep" in capsys.readouterr().err
    assert main(["sweep", "--plan", "plan.yaml", "--groups", "b", "--no-table", "--jobs", "1"]) == 0
    assert main(["analyze", "locality", "--plan", "plan.yaml"]) == 0
    assert "1 of 2 cells of the plan are finished" in capsys.readouterr().out
    table = pd.read_csv("results/analysis/locality.csv")
    assert list(table["positions"]) == [8] and not table["unlimited"][0]
    assert (tmp_path / "results" / table["records"][0]).is_file()
    assert not [sentence for sentence in problems("results")[2] if "analy" in sentence]


@pytest.mark.parametrize("what", ["locality", "selectivity", "probes"])
def test_without_records_it_is_one_sentence(what, tmp_path, capsys):
    assert main(["analyze", what, "--results", str(tmp_path)]) == 2
    assert f"has no finished run of experiments/{what}.yaml" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["hippo", "--plan", "plan.yaml"], "analyze hippo takes no --plan; it is for locality, selectivity, probes"),
        (["probes", "--model", "s5"], "analyze probes takes no --model"),
        (["probes", "--plan", "nowhere.yaml"], "--plan nowhere.yaml: no such file"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence, tmp_path, capsys):
    assert main(["analyze", *arguments, "--results", str(tmp_path)]) == 2
    assert sentence in capsys.readouterr().err
