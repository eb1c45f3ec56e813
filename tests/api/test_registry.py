"""Mixers, tasks and experiments of plug-ins are found like our own, and named classes like both."""

import importlib.metadata
import linecache
import sys
import types
from functools import cache

import pytest

from ssm_bench import registry
from ssm_bench.cli import main
from ssm_bench.config import experiment, experiment_names, get_config, has_recipe
from ssm_bench.data import spec
from ssm_bench.errors import UserError
from ssm_bench.mixers.lru import LRU
from ssm_bench.network.mixer import Mixer
from ssm_bench.training import provenance

MODULE = '''"""A mixer of a test."""
from ssm_bench.mixers.lru import LRU


class Mine(LRU):
    """Mine."""


class Unfinished:
    """No mixer yet."""
'''


@pytest.fixture
def plugins(monkeypatch):
    """Installs entry points: (group, name, value, distribution)."""

    def install(*entries):
        found = []
        for group, name, value, distribution in entries:
            entry = importlib.metadata.EntryPoint(name, value, f"ssm_bench.{group}")
            object.__setattr__(entry, "dist", types.SimpleNamespace(name=distribution))
            found.append(entry)
        monkeypatch.setattr(registry, "entry_points", lambda group: [e for e in found if e.group == group])
        for cached in ("names", "plugins"):
            monkeypatch.setattr(registry, cached, cache(getattr(registry, cached).__wrapped__))

    return install


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module "mine_of_test" with two classes; the path of its file."""
    (tmp_path / "mine_of_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "mine_of_test.py"
    sys.modules.pop("mine_of_test", None)


def test_a_plug_in_stands_next_to_our_own(plugins, mine):
    plugins(
        ("mixers", "mine", "mine_of_test:Mine", "test"), ("experiments", "again", "ssm_bench.experiments_of", "test")
    )
    assert {"mine", "lru"} <= {*registry.names("mixers")}
    assert registry.subclass("mixers", "mine", Mixer).__name__ == "Mine"
    assert {"mine", "again", "s5"} <= {*experiment_names()}
    assert experiment("mine").__doc__ == "Mine."
    config = get_config("mine", spec("text"))
    assert (config.model.mixer, config.model.name, config.report.title) == ("mine", "mine", "Mine")
    assert config.train.steps > 0 and not has_recipe("mine", "text")
    with pytest.raises(UserError, match="experiment 'again' of the plug-in test cannot be imported: ModuleNotFound"):
        experiment("again")


def test_a_name_that_two_offer_is_refused_and_says_who(plugins, mine):
    plugins(
        ("mixers", "lru", "mine_of_test:Mine", "test"), ("mixers", "x", "a:B", "one"), ("mixers", "x", "c:D", "two")
    )
    with pytest.raises(UserError, match="mixer 'lru' is offered by test and by ssm-bench: keep one"):
        registry.subclass("mixers", "lru", Mixer)
    with pytest.raises(UserError, match="mixer 'x' is offered by one and by two"):
        registry.subclass("mixers", "x", Mixer)
    assert "lru" in registry.names("mixers")


def test_names_that_no_path_can_hold_are_left_out(plugins):
    plugins(("tasks", "../x", "a:B", "one"), ("tasks", "a-b", "a:B", "one"))
    assert registry.plugins("tasks") == {}


def test_a_class_is_named_by_its_module(mine):
    name = "mine_of_test:Mine"
    assert registry.subclass("mixers", name, Mixer).__name__ == "Mine"
    config = get_config(name, spec("image"))
    assert (config.model.mixer, config.model.name, config.report.title) == (name, "mine_of_test.Mine", "Mine")
    for wrong in ("mine_of_test:Other", "no_such_module:Mine", ":", "mine_of_test:"):
        with pytest.raises(UserError, match="cannot be imported"):
            registry.subclass("mixers", wrong, Mixer)
    for wrong in ("mine_of_test:Unfinished", "ssm_bench.config:leaves"):
        with pytest.raises(TypeError, match="must be a class derived from"):
            registry.subclass("mixers", wrong, Mixer)
        # On the command line it is a mistake like any other.
        with pytest.raises(UserError, match="must be a class derived from"):
            registry.subclass("mixers", wrong, Mixer)


def test_a_class_of_this_process_can_be_referred_to_wherever_it_is_defined():
    class Local(LRU):
        """Defined in a function."""

    assert registry.subclass("mixers", registry.reference(Local), Mixer) is Local


def test_the_code_of_a_run_holds_its_plug_ins(mine):
    ours = {"model": {"mixer": "lru", "scaffold": "glu"}, "task": {"name": "text"}}
    theirs = {"model": {"mixer": "mine_of_test:Mine", "scaffold": "glu"}, "task": {"name": "text"}}
    assert provenance.code_of_run(ours) == provenance.code()
    before = provenance.code_of_run(theirs)
    assert before != provenance.code()
    mine.write_text(MODULE + "\n# edited\n")
    assert provenance.code_of_run(theirs) not in (before, provenance.code())
    gone = {"model": {"mixer": "gone_of_test:Mine"}}
    assert provenance.code_of_run(gone) not in (before, provenance.code())


def test_the_code_of_a_class_that_was_typed_in_is_its_source(monkeypatch):
    def typed(value):
        source = f"class Typed:\n    def extend(self):\n        return {value}\n"
        # As notebooks do with their cells.
        monkeypatch.setitem(linecache.cache, "<cell>", (len(source), None, source.splitlines(True), "<cell>"))
        scope = {"__name__": "__nowhere__"}
        exec(compile(source, "<cell>", "exec"), scope)
        return registry.code_of("mixers", registry.reference(scope["Typed"]))

    first = typed(1)
    assert typed(2) != first == typed(1) != "unknown"


def test_a_plug_in_that_can_not_be_imported_spoils_nothing_else(plugins, capsys):
    plugins(("mixers", "broken", "no_such_module:X", "test"), ("tasks", "broken", "no_such_module:Y", "test"))
    assert not has_recipe("broken", "text")
    for what in ("models", "mixers", "tasks"):
        assert main(["list", what]) == 0
        rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
        assert rows["broken"].startswith("(") and "of the plug-in test cannot be imported" in rows["broken"]
        assert len(rows) > 5
    assert main(["train", "--model", "broken", "--task", "text"]) == 2
    assert "mixer 'broken' of the plug-in test cannot be imported" in capsys.readouterr().err


def test_the_code_of_a_record_is_hashed_without_importing_it(mine):
    mine.write_text("raise RuntimeError")
    assert len(registry.code_of("mixers", "mine_of_test:Mine")) == 64
    assert "mine_of_test" not in sys.modules
