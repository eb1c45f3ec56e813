"""Plan files through the command line: mistakes, forecasts, and a plan that is run."""

import json
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from ssm_bench.cli import main
from ssm_bench.cli import sweep as sweep_verb
from ssm_bench.data.dataset import find
from ssm_bench.record import config_hash, store, validate, validate_speed
from ssm_bench.sweep import cells, forecast, plan, scaling, workers
from ssm_bench.sweep.cells import Cell
from ssm_bench.sweep.forecast import Device, Forecast
from ssm_bench.sweep.recipe import when_opened
from ssm_bench.training.identity import recipe
from ssm_bench.training.stop import Stop
from tests.report.samples import record

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
CAMPAIGN = EXPERIMENTS / "campaign.yaml"

TINY = """
- group: tiny
  models: [lru, transformer]
  tasks: [text]
  preset: quick
  data: synthetic
  overrides:
    {train.steps: 4, train.evaluations: 2, train.chunk: 2, model.d_model: 8, model.layers: 1, task.examples: 100}
"""


@pytest.fixture
def command(command, tmp_path):
    """Runs a sweep of a plan in an empty folder: (exit code, standard output, standard error)."""

    def call(text, *arguments):
        (tmp_path / "plan.yaml").write_text(text)
        return command("sweep", "--plan", "plan.yaml", *arguments)

    return call


def entry(**changes):
    """A plan of one group, as text; None leaves a key out."""
    group = {"group": "one", "models": ["s5"], "tasks": ["text"], "preset": "budget"} | changes
    return json.dumps([{key: value for key, value in group.items() if value is not None}])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "a plan must be a list of one or more groups"),
        ("[]", "a plan must be a list of one or more groups"),
        ("models: [s5]", "a plan must be a list of one or more groups"),
        ("- 3", "entry 1: an entry must map keys to values (group, models"),
        ("- group: [", "line 1: not valid YAML"),
        ("- {group: a, group: b}", "line 1: not valid YAML: the key 'group' twice"),
        ("\x00", "not valid YAML"),
        ("- {[1]: 2}", "not valid YAML"),
        ("[" * 3000, "not valid YAML"),
        (entry(group="a\ud800"), "line 1: not valid YAML: text that is not Unicode"),
        (entry(overrides={"model.mixer": "\udfff"}), "line 1: not valid YAML: text that is not Unicode"),
        (entry(group=None), "entry 1: Object missing required field group"),
        (entry(group="a b"), "entry 1: group: Expected str matching regex"),
        (entry(modle="s5"), "unknown key in plan.yaml: entry 1: 'modle' (did you mean models"),
        (entry(models="s5"), "entry 1: models: Expected array, got str; got 's5'"),
        (entry(models=[]), "entry 1: models: Expected array of length >= 1; got []"),
        (entry(models=["s55"]), "entry 1 (one): unknown model 's55' (did you mean s5"),
        (entry(models=["s5", "s5"]), "entry 1 (one): models must not repeat a value; got s5 2 times"),
        (entry(tasks=["txt"]), "entry 1 (one): unknown task 'txt' (did you mean text"),
        (entry(preset="bugdet"), "entry 1 (one): unknown preset 'bugdet' (did you mean budget"),
        (entry(share=2), "entry 1: share: Expected float <= 1.0; got 2"),
        (entry(share="much"), "entry 1: share: Expected float | null, got str; got 'much'"),
        (entry(preset="paper", share=0.5), "entry 1 (one): share cannot be set under the preset paper"),
        (entry(precision="half"), "entry 1 (one): unknown precision 'half'; allowed: bf16, float32"),
        (entry(seeds=[-1]), "entry 1: seeds: Expected int >= 0; got [-1]"),
        (entry(seeds=[0, 0]), "entry 1 (one): seeds must not repeat a value; got 0 2 times"),
        (entry(protocol="strickt"), "entry 1 (one): unknown protocol 'strickt' (did you mean strict"),
        (entry(data="reel"), "entry 1 (one): unknown data 'reel'"),
        (entry(resume="yes"), "entry 1: resume: Expected bool, got str; got 'yes'"),
        (entry(per_gpu=0), "entry 1: per_gpu: Expected int >= 1; got 0"),
        (entry(overrides={"model.d_modle": 8}), "entry 1 (one): model.d_modle changes the published recipe"),
        (
            entry(preset="custom", overrides={"model.d_modle": 8}),
            "entry 1 (one): unknown setting 'model.d_mod",
        ),
        (
            entry(preset="custom", overrides={"train.steps": [8]}),
            "entry 1: overrides: Expected bool | int | float | str",
        ),
        (
            entry(precision="bf16", overrides={"model.precision": "bf16"}),
            "entry 1 (one): precision and overrides both set model.precision",
        ),
        (f"{TINY}\n{TINY}", "entry 2 (tiny): the name of a group must be unique"),
        (
            f"{TINY}\n{TINY.replace('group: tiny', 'group: more')}",
            "entry 2 (more): lru on text, seed 0, is already planned by",
        ),
    ],
)
def test_a_mistake_in_a_plan_is_one_sentence_and_nothing_starts(command, tmp_path, text, sentence):
    code, out, err = command(text)
    assert code == 2 and out == ""
    assert sentence in err and "plan.yaml" in err
    assert err.startswith("error: ") and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["plan.yaml"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--preset", "paper"), "--preset is set by the plan"),
        (("--share", "0"), "--share is set by the plan"),
        (("--together",), "--together is set by the plan"),
        (("--config.seed=1",), "--config.seed=1 is set by the plan"),
        (("--protocol", "paper"), "--protocol is set by the plan"),
        (("--groups", "tinny"), "unknown --groups of plan.yaml 'tinny' (did you mean tiny"),
        (("--models", "s5"), "unknown --models of plan.yaml 's5'"),
        (("--tasks", "image"), "unknown --tasks of plan.yaml 'image'"),
        (("--deadline", "soon"), "--deadline takes a time"),
        (("--plan", "none.yaml"), "--plan none.yaml: no such file"),
        (("--plan", "."), "--plan .: not a file"),
    ],
)
def test_a_mistake_beside_a_plan_is_one_sentence(command, arguments, sentence):
    code, out, err = command(TINY, *arguments)
    assert code == 2 and out == "" and sentence in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--groups", "a"), "--groups requires --plan FILE"),
        (("--gpus", "8"), "--gpus requires --dry-run"),
        (("--plan", str(CAMPAIGN), "--gpus", "8"), "--gpus requires --dry-run"),
        (("--dry-run", "--gpus", "0"), "--gpus takes a whole number from 1; got '0'"),
        (("--dry-run", "--budget", "1h"), "--dry-run needs a known schedule, which --budget does not set"),
    ],
)
def test_flags_that_need_another_are_refused(arguments, sentence, capsys):
    assert main(["sweep", *arguments]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_a_preset_is_forecast_without_a_plan(capsys):
    """From the committed records: the time on several devices lies between that of the longest cell and that on one."""
    cells = ("--models", "s5,lru", "--tasks", "text,image", "--results", str(CAMPAIGN.parents[1] / "results"))
    assert main(["sweep", "--preset", "paper", "--dry-run", "--gpus", "1,3", *cells]) == 0
    *_, total, one, three = capsys.readouterr().out.splitlines()
    assert total.startswith("4 cells: ")
    assert one.startswith("on 1 devices: ") and three.startswith("on 3 devices: ")


def test_a_plan_is_forecast_run_and_skipped(command, tmp_path):
    code, out, _ = command(TINY, "--dry-run")
    assert code == 0 and out.count("missing") == 2 and "unknown" in out
    assert out.endswith("2 cells: 0 finished, 2 left; 0 of these take 0 s of one device, 2 unknown\n")
    assert [path.name for path in tmp_path.iterdir()] == ["plan.yaml"]

    code, out, _ = command(TINY, "--jobs", "1")
    assert code == 0 and "2 ok" in out
    assert {r.model.name for r in store.read_all(tmp_path / "results")} == {"lru", "transformer"}
    assert (tmp_path / "results" / "tables" / "quick-strict.md").is_file()

    code, out, _ = command(TINY, "--dry-run")
    assert code == 0 and "2 cells: 2 finished, 0 left\n" in out
    code, out, _ = command(TINY, "--jobs", "1")
    assert code == 0 and "2 skipped" in out
    # The records of these say what another seed costs.
    code, out, _ = command(TINY.replace("data:", "seeds: [0, 1]\n  data:"), "--dry-run", "--models", "lru")
    assert code == 0 and "2 cells: 1 finished, 1 left; 1 of these take" in out


def test_a_group_inserts_the_settings_of_another_and_changes_some(tmp_path):
    first = "{train.steps: 4, model.layers: 1}"
    groups = "- {group: %s, models: [s5], tasks: [text], preset: custom, overrides: %s}\n"
    path = tmp_path / "plan.yaml"
    path.write_text(groups % ("a", "&basis " + first) + groups % ("b", "{<<: *basis, model.layers: 2}"))
    assert plan.read(path)[1].overrides == {"train.steps": 4, "model.layers": 2}


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_plan_is_sound(path, tmp_path, capsys):
    assert main(["sweep", "--plan", str(path), "--dry-run", "--results", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    groups = plan.read(path)
    assert printed.count("\n") == 2 + sum(len(group.cells) for group in groups)


def group(**more):
    """A group of S5 on Text."""
    basis = {"group": "a", "models": ["s5"], "tasks": ["text"], "preset": "budget", "share": 0.1}
    return msgspec.convert(basis | more, plan.Group)


def opened(of):
    """The configuration of the first cell of a group once its data are opened."""
    return when_opened(of.choices.config(of.cells[0]))[0]


def a_record(
    of,
    *,
    done=1.0,
    status="ok",
    kind="NVIDIA H200",
    platform="gpu",
    step=0.05,
    shared=False,
    seed=0,
    changed=(),
    **data,
):
    """A record of the first cell of a group that has done a part of its steps; the times are invented."""
    config = opened(of)
    config.update(dict(changed))
    data = {"kind" if name == "kind_of_data" else name: value for name, value in data.items()}
    raw = record("s5", "text", 80.0 if status == "ok" else None, status=status, seed=seed, **data).to_dict()
    planned = config.train.steps
    steps = int(done * planned)
    settings = recipe(config)
    raw |= {"config": config.to_dict(), "differences": settings, "config_hash": config_hash(settings)}
    raw["steps"] = {"done": steps, "planned": planned, "published": config.train.published_steps}
    raw["cost"] |= {"seconds_train": step * steps, "seconds_evaluate": 0.0, "seconds_compile": 10.0}
    raw["device"] = {"platform": platform, "kind": kind, "count": 1, "shared": shared}
    if raw["result"]:
        raw["result"]["best_step"] = steps
    return validate(raw)


def speed_record(kind="NVIDIA H200", milliseconds=20.0, **changes):
    """A speed record of a step; the time is invented."""
    return validate_speed(
        {
            "schema_version": 2,
            "kind": "speed",
            "benchmark": "step",
            "name": "step-s5-text-gpu",
            "model": "s5",
            "task": "text",
            "measurements": [{"metric": "step_ms", "value": milliseconds}],
            "config_hash": None,
            "device": {"platform": "gpu", "kind": kind, "count": 1, "shared": False},
            "versions": {},
            "revision": {"commit": "33f0217", "dirty": False},
            "created": "2026-01-01T00:00:00Z",
        }
        | changes
    )


def outlook(of, runs=(), speeds=(), checkpoints=Path("none")):
    """What records say about the first cell of a group, on an H200."""
    return Forecast(runs, speeds, checkpoints, HERE).outlook(of.cells[0])


HERE = Device("gpu", "NVIDIA H200")


def test_a_finished_cell_costs_nothing():
    for status in ("ok", "diverged", "oom"):
        one = outlook(group(), [a_record(group(), status=status)])
        assert (one.status, one.done, one.seconds, one.finished) == (status, 1.0, 0.0, True)
    assert not outlook(group(), [a_record(group(), status="error")]).finished
    assert outlook(group(share=0.2), [a_record(group())]).status == "missing"


def test_a_run_on_an_earlier_version_of_generated_data_is_missing(monkeypatch):
    monkeypatch.setattr(type(find("text")), "fetch_identity", "Text 2")
    assert outlook(group(), [a_record(group(), kind_of_data="generated", identity="Text 1")]).status == "missing"
    assert outlook(group(), [a_record(group(), kind_of_data="generated", identity="Text 2")]).status == "ok"
    assert outlook(group(), [a_record(group(), identity="Text 1")]).status == "ok"


def test_where_the_data_are_prepared_only_runs_on_them_count(monkeypatch):
    finished = [a_record(group())]
    for checksum, status in ((finished[0].data.checksum, "ok"), ("0123456789", "missing")):
        monkeypatch.setattr(forecast, "_checksum", lambda *_, checksum=checksum: checksum)
        assert outlook(group(), finished).status == status


def test_the_rest_of_a_cell_is_expected_from_its_own_steps(tmp_path):
    half = a_record(group(), done=0.5, status="partial")
    steps = half.steps.planned
    # Without the checkpoint the run begins again.
    one = outlook(group(), [half], checkpoints=tmp_path)
    assert (one.status, one.done, one.seconds) == ("partial", 0.0, pytest.approx(10 + 0.05 * steps))
    (tmp_path / "budget" / "text" / "s5" / half.name).mkdir(parents=True)
    one = outlook(group(), [half], checkpoints=tmp_path)
    assert one.done == pytest.approx(0.5, abs=0.01)
    assert one.seconds == pytest.approx(10 + 0.05 * (steps - half.steps.done))
    # Seeds that are trained together count each.
    both = group(seeds=[0, 1], together=True)
    one = outlook(both, [a_record(group())])
    assert (one.status, one.done) == ("missing", 0.5) and one.seconds == pytest.approx(10 + 0.05 * steps)
    one = outlook(both, [a_record(group(), seed=7)])
    assert one.seconds == pytest.approx(10 + 0.05 * 2 * steps)


def test_the_nearest_measurement_is_the_one_that_counts():
    other = {"seed": 5}
    steps = a_record(group()).steps.planned
    shared = a_record(group(), step=0.5, shared=True, **other)
    alone = a_record(group(), step=0.1, **other)
    elsewhere = a_record(group(), step=0.2, kind="NVIDIA H100", **other)
    processor = a_record(group(), step=9.0, platform="cpu", kind="a processor", **other)
    speed, speed_elsewhere = speed_record(), speed_record(kind="NVIDIA H100", milliseconds=30.0)

    def step(*runs, speeds=()):
        one = outlook(group(), runs, speeds)
        compiling = 10.0 if one.device and runs else 0.0
        return one.seconds and round((one.seconds - compiling) / steps, 6)

    assert step(processor, elsewhere, shared, alone) == 0.1
    assert step(processor, elsewhere, shared) == 0.5
    assert step(processor, elsewhere) == 0.2
    assert step(speeds=[speed, speed_elsewhere]) == 0.02
    assert step(speeds=[speed_elsewhere]) == 0.03
    assert outlook(group(), [elsewhere], [speed]).seconds == pytest.approx(0.02 * steps)
    assert outlook(group(), [shared], [speed]).seconds == pytest.approx(0.02 * steps)
    # What was measured with another recipe or precision says nothing.
    assert step() is None
    half = speed_record(sizes={"activation_bits": 16})
    changed = speed_record(overrides={"config.scaffold.activation": "glu"})
    smaller, forward = speed_record(sizes={"batch_size": 2}), speed_record(sizes={"directions": 1})
    assert step(speeds=[half, changed, smaller, forward]) is None
    assert step(speeds=[speed_record(sizes={"activation_bits": 32, "directions": 2})]) == 0.02


def test_without_a_measurement_the_nearest_size_is_scaled():
    width, steps = opened(group()).model.d_model, a_record(group()).steps.planned

    def run(factor, **more):
        return a_record(group(), seed=5, changed={"model": {"d_model": factor * width}}, **more)

    one = outlook(group(), [run(2, step=0.1), run(8, step=9.0), run(2, step=9.0, platform="cpu")])
    assert one.scaled_from == "text" and one.seconds == pytest.approx(10 + 0.1 / 2 * steps)
    # An estimate is shown, and keeps no cell from starting.
    known = Forecast([run(2)], [], Path(), HERE)
    assert known.timed(group(), one, 1).seconds == 0.0
    assert "(scaled from text, NVIDIA H200)" in forecast.report([(group(), one)])
    # Quick runs are no basis for full sizes, nor runs of another model.
    quick = msgspec.structs.replace(run(2), preset="quick")
    other = msgspec.structs.replace(run(2), model=msgspec.structs.replace(run(2).model, name="s4"))
    assert outlook(group(), [quick, other]).seconds is None


def test_the_whole_table_is_scheduled_on_many_gpus(tmp_path):
    """Two cells have a measured time, their model's others a scaled one, and all other models none."""
    for each in (a_record(group(), seed=1), a_record(group(), seed=2)):
        store.write(each, tmp_path)
    found = scaling.blocks(tmp_path)
    assert found["scaling-device"] == "One NVIDIA H200 per cell."
    text = next(line for line in found["scaling-tasks"].splitlines() if line.startswith("| Text |"))
    measured, scaled, unknown = map(int, text.split("|")[2:5])
    assert (measured, scaled) == (1, 0) and unknown > 20
    listops = next(line for line in found["scaling-tasks"].splitlines() if line.startswith("| ListOps |"))
    assert listops.split("|")[2:4] == [" 0 ", " 1 "]
    rows = [line.split("|") for line in found["scaling-gpus"].splitlines()[2:]]
    assert [row[2].strip() for row in rows] == ["1", "8", "64", "512"] * 2
    assert {row[1].strip() for row in rows} == {"without Path-X, 5 cells", "all tasks, 6 cells"}
    assert scaling.blocks(tmp_path / "empty")["scaling-gpus"] == "No record yet."


def test_groups_stay_in_order_and_long_cells_start_first():
    groups = [group(group="first", models=["lru", "s5"], seeds=[1, 0]), group(group="second", models=["transformer"])]
    known = a_record(group(), seed=9)
    order = [(g.group, one.cell.model, one.cell.seed) for g, one in Forecast([known], [], Path(), HERE).planned(groups)]
    # How long the LRU takes is unknown: perhaps the longest.
    first = [("first", "lru", 1), ("first", "s5", 1), ("first", "lru", 0), ("first", "s5", 0)]
    assert order == [*first, ("second", "transformer", 0)]


def test_a_cell_starts_only_where_its_time_fits(tmp_path):
    known = Forecast([a_record(group(), seed=9)], [], Path(), HERE)
    (pair,) = known.planned([group()])
    expected = pair[1].seconds
    assert known.timed(*pair, crowd=1).seconds == expected and known.timed(*pair, crowd=4).seconds == 4 * expected
    # One that is resumed, finished, unknown, or measured on another platform starts in any case.
    (resumed,) = known.planned([group(resume=True)])
    assert known.timed(*resumed, crowd=1).seconds == 0.0
    finished = Forecast([a_record(group())], [], Path(), HERE)
    assert finished.timed(*finished.planned([group()])[0], crowd=1).seconds == 0.0
    for forecast_ in (Forecast([], [], Path(), HERE), Forecast(known.runs, [], Path(), Device("cpu", "a processor"))):
        assert forecast_.timed(*forecast_.planned([group()])[0], crowd=1).seconds == 0.0

    started = []
    runner = SimpleNamespace(
        choices=group().choices,
        seconds=None,
        devices=1,
        results=tmp_path,
        checkpoints=tmp_path,
        track="",
        run=lambda cell, *_: started.append(cell.seed) or "ok",
    )
    wanted = [
        Cell(model="s5", task="text", seed=seed, seconds=seconds) for seed, seconds in enumerate((1e6, 0.0, 1e6, 1.0))
    ]
    with Stop(3600.0) as stop:
        reached = cells.sweep(wanted, runner, stop)
    assert started == [1, 3] and [cell.seed for cell, _ in reached] == [1, 3]


def test_small_cells_share_a_gpu_and_others_do_not(command, monkeypatch):
    monkeypatch.setattr(workers, "gpus", lambda: ["0", "1"])
    monkeypatch.setattr(forecast, "here", lambda: HERE)
    calls = []

    def sweep(wanted, runner, stop, places, prepare, ahead):
        calls.append(([(cell.model, cell.task) for cell in wanted], [(p.gpu, p.memory) for p in places]))
        return [(cell, "ok") for cell in wanted]

    monkeypatch.setattr(sweep_verb, "_sweep", sweep)
    more = """
- {group: whole, models: [s5], tasks: [text, image, listops], preset: paper}
- {group: small, models: [gru, lstm], tasks: [text, image], preset: budget, per_gpu: 2}
- {group: also, models: [lru], tasks: [text], preset: budget, per_gpu: 2}
"""
    code, out, _ = command(more, "--no-table")
    assert code == 0 and out == "8 ok\n"
    assert [len(wanted) for wanted, _ in calls] == [3, 5]
    assert [places for _, places in calls] == [[("0", None), ("1", None)], [("0", 0.45), ("1", 0.45)] * 2]
    calls.clear()
    assert command(more, "--no-table", "--jobs", "1", "--groups", "small")[0] == 0
    assert [places for _, places in calls] == [[("0", None)]]
