"""From names and overrides to one complete configuration."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import pytest
from flax import nnx

from ssm_bench import registry
from ssm_bench.bench.recording import of_recipe
from ssm_bench.config import (
    SCHEMA,
    SETTINGS,
    STEPS_WITHOUT_RECIPE,
    base_config,
    experiment,
    experiment_names,
    get_config,
    leaves,
    merged,
    override,
    recipes,
)
from ssm_bench.data import TaskSpec, spec
from ssm_bench.data.dataset import DATA, PROTOCOLS, TOKENS
from ssm_bench.errors import UserError
from ssm_bench.network.backbone import ENCODERS, POOLINGS, POSITIONS, PRECISIONS
from ssm_bench.network.build import build, options_of
from ssm_bench.network.mixer import Mixer
from ssm_bench.record import store
from ssm_bench.report.speed import own_steps
from ssm_bench.sweep.presets import PRESETS, set_share
from ssm_bench.sweep.recipe import FREE, SHARED_OPTIONS, resolve
from ssm_bench.training import pretrained
from ssm_bench.training.identity import recipe
from ssm_bench.training.loop import chunk_length

RESULTS = Path(__file__).parents[2] / "results"

# A header rounds to minutes, and another card of the same name differs by a few percent.
COST_TOLERANCE = 0.1

# Steps are rounded up to whole chunks in every interval.
SHARE_TOLERANCE = 0.1

#: The tasks for which every model of this repository has a recipe.
TASKS = ("listops", "text", "retrieval", "image", "pathfinder", "pathx")

CELLS = [(model, task) for model in experiment_names() for task in TASKS]


@pytest.mark.parametrize(("model", "task"), CELLS)
def test_every_experiment_has_a_complete_recipe_for_every_task(model, task):
    config = resolve(model, task, preset="paper")
    assert config.model.name == model and config.task.name == task
    assert config.train.steps == config.train.published_steps > 0
    assert config.report.title and config.report.bibtex.startswith("@")
    # What is ours alone has neither.
    assert bool(config.report.published_row) == bool(config.report.published_source)
    # The identity of a run needs plain JSON.
    json.dumps(recipe(config))


def test_griffin_at_toy_size_has_a_block_with_attention():
    assert resolve("griffin", "text", preset="quick").model.layers == 3
    assert resolve("hawk", "text", preset="quick").model.layers == 1


@pytest.mark.parametrize("model", experiment_names())
def test_the_header_of_an_experiment_says_what_a_reader_needs(model):
    header = experiment(model).__doc__ or ""
    for word in ("Paper:", "arXiv", f"Run:      python experiments/{model}.py", "Expected:", "deviations"):
        assert word in header, word
    assert isinstance(experiment(model).TINY, dict)


@pytest.fixture(scope="module")
def trained():
    """The records of training under the preset budget, and the measured steps."""
    return store.read_all(RESULTS, "budget"), own_steps(store.read_all_speed(RESULTS))


@pytest.mark.parametrize("model", experiment_names())
def test_the_cost_in_a_header_is_what_the_records_say(model, trained):
    header = " ".join((experiment(model).__doc__ or "").split())
    stated = dict(re.findall(r"(\w[\w-]*) (\d+) min", header.partition("Cost:")[2].partition(". ")[0]))
    device = re.search(r"on one (H\d+)", header)
    kind = device[1] if device else "none"
    measured, (records, steps) = {}, trained
    for record in records:
        if record.model.name == model and record.steps.published and kind in record.device.kind and record.alone:
            step_seconds = record.cost.seconds_train / record.steps.done
            measured[record.task.title] = record.steps.published * step_seconds / 60
    for record in steps:
        if record.model == model and record.task and kind in record.device.kind:
            config = resolve(model, record.task, preset="paper")
            if of_recipe(record, config):
                measured[spec(record.task).title] = config.train.published_steps * record.value("step_ms") / 60_000
    assert stated or "not measured yet" in header, "no cost is stated"
    for task, minutes in stated.items():
        assert int(minutes) == pytest.approx(measured[task], rel=COST_TOLERANCE, abs=0.5), task


def test_the_records_that_are_shown_are_of_the_recipes_of_today():
    shown = {}
    for record in sorted(store.read_all(RESULTS), key=lambda record: record.created):
        if record.preset in FREE:
            shown[record.preset, record.model.name, record.task.name] = record
    assert shown
    for (preset, model, task), record in shown.items():
        today = leaves(resolve(model, task, preset=preset, protocol=record.protocol).to_dict())
        # What a setting was before there was one, nobody can say; and a recipe leaves a length of 0 to the task.
        # The fraction that a warm-up takes of a shrunk schedule depends on the share.
        of_share = {"optimizer.warmup"} if preset == "budget" else set()
        same_for_all = {"seed", "task.max_length", "task.data", *of_share, *FREE[preset]}
        was = leaves(record.config)
        changed = [name for name in was if name in today and name not in same_for_all and was[name] != today[name]]
        assert not changed, f"{model} on {task} was run with other settings: {changed}; run it again or remove it"


def test_overrides_keep_the_type_of_what_is_there():
    config = override(
        base_config("text"),
        ["--config.model.d_model=64", "--config.optimizer.lr=1", "--config.model.prenorm=false", "--config.seed=3"],
    )
    assert (config.model.d_model, config.optimizer.lr, config.model.prenorm, config.seed) == (64, 1.0, False, 3)


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("--config.model.dmodel=3", r"unknown setting 'model.dmodel' \(did you mean model.d_model"),
        ("--config.model.d_model=wide", r"model.d_model takes a value of type int, like 128; got 'wide'"),
        ("--config.model.d_model=1.5", r"model.d_model takes a value of type int, like 128; got '1.5'"),
        ("--config.model.prenorm=perhaps", r"model.prenorm takes a value of type bool.*got 'perhaps'"),
        ("--config.model.d_model", r"model.d_model needs a value"),
        ("--config.optimizer.lr=nan", "optimizer.lr takes a finite number; got 'nan'"),
        ("--config.optimizer.lr=-inf", "optimizer.lr takes a finite number; got '-inf'"),
        ("--config.model=3", "model is a section of settings: .*model.mixer"),
        ("--config.train.batch_size=0", "train.batch_size must be at least 1; got 0"),
        ("--config.train.eval_batch_size=-5", "train.eval_batch_size must be at least 0; got -5"),
        ("--config.optimizer.lr=0", "optimizer.lr must be above 0; got 0.0"),
        ("--config.model.dropout=1.0", r"model.dropout must lie in \[0, 1\); got 1.0"),
        ("--config.optimizer.warmup=1.5", r"optimizer.warmup must lie in \[0, 1\]; got 1.5"),
        ("--config.model.layers=99999", r"model.layers must lie in \[1, 1024\]; got 99999"),
        (
            "--config.train.steps=9999999999",
            "train.steps takes an integer of at most 2147483647; got 9999999999",
        ),
        ("--config.optimizer.schedule=cosin", r"unknown optimizer.schedule 'cosin' \(did you mean cosine"),
        ("--config.optimizer.groups.weight=fast", r"unknown optimizer.groups.weight 'fast'.*global\+decay"),
    ],
)
def test_a_wrong_name_or_type_is_refused_with_what_would_do(argument, sentence):
    with pytest.raises(UserError, match=sentence):
        override(base_config("text"), [argument])


def test_any_mixer_is_put_into_any_scaffold_by_one_override():
    config = resolve("transformer", "text", overrides=["--config.model.mixer=s5", "--config.mixer.state_size=8"])
    assert config.model.scaffold == "mlp" and config.scaffold.width == 1024
    assert config.mixer.state_size == 8 and "heads" not in config.mixer
    config = resolve("s5", "text", overrides=["--config.model.scaffold=mlp"])
    assert "activation" not in config.scaffold and config.mixer.state_size == 192


@pytest.mark.parametrize("mixer", registry.names("mixers"))
def test_another_mixer_keeps_the_options_that_mean_the_same_and_no_other(mixer):
    recipe = resolve("s5", "pathx").mixer
    config = resolve("s5", "pathx", overrides=[f"--config.model.mixer={mixer}"])
    defaults = options_of(registry.subclass("mixers", mixer, Mixer))
    for name, value in config.mixer.items():
        kept = mixer == "s5" or name in SHARED_OPTIONS
        assert value == (recipe[name] if kept and name in recipe else defaults[name]), name


def test_a_mixer_that_replaces_itself_changes_nothing():
    replaced = resolve("lru", "text", overrides=["--config.model.mixer=lru"])
    assert replaced.to_dict() == resolve("lru", "text").to_dict()


def test_options_that_an_experiment_leaves_out_are_written_out():
    assert resolve("s5", "text").mixer.discretization == "zoh"
    with pytest.raises(UserError, match=r"unknown setting 'mixer.state' \(did you mean .*state_size"):
        resolve("s5", "text", overrides=["--config.mixer.state=8"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"model": "s55"}, r"unknown model 's55' \(did you mean s5"),
        ({"task": "txt"}, r"unknown task 'txt' \(did you mean text"),
        ({"preset": "quik"}, r"unknown preset 'quik' \(did you mean quick"),
        ({"protocol": "loose"}, r"unknown protocol 'loose'.*paper, strict"),
        ({"share": 1.5}, r"share must be in \(0, 1\]; got 1.5"),
        ({"share": 0.5, "preset": "quick"}, r"share cannot be set under the preset quick"),
        ({"overrides": ["--config.seed=1"]}, r"seed cannot be changed with --config: use --seed"),
        (
            {"preset": "budget", "overrides": ["--config.model.layers=2"]},
            r"changes the .* recipe.*the preset custom",
        ),
        (
            {"share": 0.01, "preset": "paper"},
            r"^share cannot be set under the preset paper, .*; got 0.01; use the preset budget or custom$",
        ),
        (
            {"preset": "paper", "overrides": ["--config.train.steps=100"]},
            r"^train.steps changes the published schedule; use the preset budget or custom for another$",
        ),
        (
            {"preset": "paper", "overrides": ["--config.model.layers=2"]},
            r"settings that may change under paper: train.evaluations, .*the preset custom",
        ),
        ({"seed": -1}, r"seed must be a whole number from 0 .* got -1"),
        ({"overrides": ["--config.model.mixer=s7"]}, r"unknown model.mixer 's7' \(did you mean"),
    ],
)
def test_unknown_names_and_values_out_of_range_are_refused(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        resolve(**({"model": "s5", "task": "text"} | arguments))


def test_what_changes_no_recipe_is_free_under_its_name():
    evaluations = ("--config.train.evaluations=2",)
    assert resolve("s5", "text", preset="paper", overrides=evaluations).train.evaluations == 2
    assert resolve("s5", "text", preset="budget", overrides=("--config.train.steps=100",)).train.steps == 100


@pytest.mark.parametrize(
    ("preset", "overrides", "changed"),
    [
        ("quick", ("model.d_model=64", "train.evaluations=3"), "model.d_model=64"),
        ("quick", ("model.mixer=lru",), "model.mixer=lru"),
        ("quick", ("model.d_model=32", "model.mixer=s5"), ""),
        ("budget", ("train.steps=100", "model.precision=bf16"), ""),
        ("custom", ("train.steps=100", "optimizer.lr=0.5"), "optimizer.lr=0.5, train.steps=100"),
    ],
)
def test_a_configuration_says_what_the_user_changed(preset, overrides, changed):
    given = [f"--config.{each}" for each in overrides]
    assert resolve("s5", "text", preset=preset, overrides=given).report.changed == changed


def test_only_a_toy_takes_a_stand_in_where_nothing_is_said():
    taken = {preset: resolve("s5", "text", preset=preset).task.data for preset in PRESETS}
    assert taken == {"quick": "auto", "budget": "real", "paper": "real", "custom": "real"}
    assert resolve("s5", "text", preset="paper", data="auto").task.data == "auto"


def test_the_identity_changes_with_a_setting_and_not_with_seed_preset_or_report():
    plain = resolve("s5", "text")
    assert recipe(resolve("s5", "text", seed=7)) == recipe(plain)
    assert recipe(resolve("s5", "text", preset="paper")) == recipe(plain)
    changed = resolve("s5", "text", overrides=["--config.mixer.dt_min=0.002"])
    assert recipe(changed) != recipe(plain)


@pytest.mark.parametrize("share", [0.0001, 0.003, 0.1, 0.37, 1.0])
@pytest.mark.parametrize("model", ["s5", "transformer"])
def test_a_share_makes_whole_chunks_near_the_steps_asked_for(model, share):
    config = get_config(model, spec("listops"))
    published = config.train.published_steps
    set_share(config, share)
    steps = config.train.steps
    assert steps == pytest.approx(share * published, rel=SHARE_TOLERANCE, abs=20)
    interval, chunk = chunk_length(steps, config.train.evaluations, config.train.chunk)
    if share < 1:
        assert steps % chunk == 0 and interval * config.train.evaluations == steps


@pytest.mark.parametrize(
    ("model", "task", "share", "evaluations"),
    [("s4d", "image", 0.04, 10), ("s4d", "image", 0.5, 100), ("s4d", "image", 1.0, 200), ("s4d", "listops", 0.001, 2)],
)
def test_evaluations_shrink_with_the_schedule_to_ten_and_below_only_for_want_of_steps(model, task, share, evaluations):
    config = get_config(model, spec(task))
    set_share(config, share)
    assert config.train.evaluations == evaluations


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.3, 1.0])
@pytest.mark.parametrize(
    ("model", "task"), [("s5", "pathfinder"), ("s5", "listops"), ("transformer", "text"), ("s6", "text")]
)
def test_a_share_keeps_the_steps_of_the_warmup_up_to_a_tenth_of_the_run(model, task, share):
    config = get_config(model, spec(task))
    fraction, published = config.optimizer.warmup, config.optimizer.warmup * config.train.published_steps
    set_share(config, share)
    steps = config.optimizer.warmup * config.train.steps
    if published <= 0.1 * config.train.steps:
        assert steps == pytest.approx(published)
    else:
        assert steps == pytest.approx(min(published, max(0.1, fraction) * config.train.steps))
    assert 0.0 <= config.optimizer.warmup <= 1.0


# The recipes above are those of "paper".
@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"paper"}))
def test_every_preset_resolves_every_cell(preset):
    for model, task in CELLS:
        assert resolve(model, task, preset=preset).train.steps > 0


@pytest.mark.parametrize("name", ["published_row", "published_source"])
def test_a_row_that_was_not_published_is_refused_before_training(name):
    with pytest.raises(UserError, match=r"published_row must be empty or a row of the published results.*nope"):
        resolve("s5", "text", overrides=(f"--config.report.{name}=nope",))
    assert resolve("s5", "text", overrides=("--config.report.published_row=",)).report.published_row == ""


def test_a_share_is_of_the_steps_that_an_override_names():
    config = resolve("lru", "text", share=0.5, overrides=("--config.train.published_steps=400",))
    assert config.train.published_steps == 400 and 200 <= config.train.steps <= 400


def test_padded_lengths_are_part_of_a_run_only_where_they_change_it():
    several = ("--config.train.lengths=3",)
    assert resolve("lru", "text", overrides=several).train.lengths == 3
    assert resolve("lru", "image", overrides=several).train.lengths == 1
    assert resolve("lru", "text", protocol="paper", overrides=several).train.lengths == 1


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_setting_is_described_and_its_default_is_allowed(setting):
    assert setting.help.endswith(".") and setting.help[0].isupper()
    assert not (setting.range and setting.choices)
    # Which task, model and mixer a run has, and how many steps, only its recipe knows.
    if setting.name != "train.steps":
        setting.check(setting.default)
    if setting.range:
        with pytest.raises(UserError, match=f"^{setting.name} must .*; got -1"):
            setting.check(type(setting.default)(-1))
    if setting.choices:
        with pytest.raises(UserError, match=f"^unknown {setting.name} 'xyzzy'; allowed: "):
            setting.check("xyzzy")


def test_the_choices_of_the_schema_are_those_of_the_code():
    choices = {
        "preset": (*PRESETS, *pretrained.PRESETS),
        "protocol": PROTOCOLS,
        "task.data": DATA,
        "task.tokens": TOKENS,
        "model.encoder": ("auto", *ENCODERS),
        "model.positions": POSITIONS,
        "model.pooling": POOLINGS,
        "model.precision": tuple(PRECISIONS),
    }
    for name, known in choices.items():
        assert sorted(SCHEMA[name].choices) == sorted(known), name


def test_merged_trees_share_nothing_with_those_they_were_made_of():
    first, second = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}}
    found = merged(first, second)
    assert found == {"a": {"b": 4, "c": 2}, "d": 3}
    found["a"]["c"] = 5
    assert first == {"a": {"b": 1, "c": 2}, "d": 3} and second == {"a": {"b": 4}}


#: Tasks that no experiment knows.
UNKNOWN_TASKS = [
    TaskSpec(name="new", title="New", classes=2, kind="tokens", max_length=20_000, documents=2),
    TaskSpec(name="new", title="New", classes=3, kind="pixels", max_length=784),
]


@pytest.mark.parametrize("task", UNKNOWN_TASKS, ids=lambda task: f"{task.kind}-{task.max_length}")
@pytest.mark.parametrize("model", experiment_names())
def test_a_new_task_needs_no_edit_of_any_experiment(model, task, monkeypatch):
    monkeypatch.setattr("ssm_bench.sweep.recipe.spec", lambda name: task)
    monkeypatch.setattr("ssm_bench.sweep.presets.spec", lambda name: task)
    for preset in ("budget", "paper"):
        with pytest.raises(UserError, match=f"^{model} has no published recipe for new: preset {preset} needs one"):
            resolve(model, "new", preset=preset)
    with pytest.raises(UserError, match=f"share cannot be set, since {model} has no recipe for new"):
        resolve(model, "new", share=0.5)
    assert resolve(model, "new", preset="quick").train.published_steps == 0
    config = resolve(model, "new", overrides=["--config.model.layers=1"])
    assert config.train.published_steps == 0 and config.train.steps == STEPS_WITHOUT_RECIPE
    # The sizes go together: the model can be built. No number is drawn.
    rngs: Any = SimpleNamespace(params=lambda: jax.random.key(0))
    assert nnx.eval_shape(lambda: build(config, task, vocab_size=20, pixels=(0.5, 0.5), rngs=rngs))


@pytest.fixture
def own_experiment(tmp_path, monkeypatch):
    """Writes an experiment file with that text as the only one."""

    def write(text):
        (tmp_path / "mine.py").write_text(text)
        monkeypatch.setenv("SSM_BENCH_EXPERIMENTS", str(tmp_path))

    return write


MINE = '''"""Mine: a test."""

TINY = {"state_size": 4}


def defaults(task):
    """Settings on every task."""
    return {"model": {"mixer": "lru"}, "optimizer": {"lr": 0.01}}
'''


def test_a_new_model_needs_no_table_of_tasks(own_experiment):
    own_experiment(MINE)
    assert recipes("mine") == {}
    config = resolve("mine", "text")
    assert config.model.mixer == "lru" and config.optimizer.lr == 0.01 and config.train.steps > 0
    assert resolve("mine", "text", preset="quick").mixer.state_size == 4


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ('"d_modell": 3', r"unknown setting of experiments/mine.py 'model.d_modell' \(did you mean model.d_model"),
        ('"d_model": "wide"', "^experiments/mine.py: model.d_model takes a value of type int"),
        ('"layers": 0', r"^experiments/mine.py: model.layers must lie in \[1, 1024\]; got 0"),
    ],
)
def test_a_setting_is_checked_in_an_experiment_too(own_experiment, change, sentence):
    own_experiment(MINE.replace('"mixer": "lru"', f'"mixer": "lru", {change}'))
    with pytest.raises(UserError, match=sentence):
        get_config("mine", spec("text"))


@pytest.mark.parametrize("text, needs", [("TINY = {}", "a docstring"), ('"""Mine."""', "TINY")])
def test_an_incomplete_experiment_says_what_it_needs(own_experiment, text, needs):
    own_experiment(text)
    with pytest.raises(UserError, match=rf"mine\.py needs {needs}"):
        experiment("mine")
