"""`ssm-bench list`: what there is."""

import argparse

HELP = "list models, tasks, mixers, scaffolds or presets"
EXAMPLE = """example:
  ssm-bench list models"""

KINDS = ("models", "tasks", "mixers", "scaffolds", "presets")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this verb."""
    parser.add_argument("what", nargs="?", default="models", help=f"one of {', '.join(KINDS)} (default: models)")


def run(options: argparse.Namespace) -> int:
    """Runs the verb: one line each, name first."""
    from ssm_bench.errors import unknown_name

    if options.what not in KINDS:
        raise unknown_name("list", options.what, KINDS)
    rows = globals()[f"_{options.what}"]()
    width = max(len(name) for name, _ in rows)
    for name, words in rows:
        print(f"{name:{width}}  {words}")
    return 0


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0]


def _models() -> list[tuple[str, str]]:
    from ssm_bench.config import experiment, experiment_names

    return [(name, _first_line(experiment(name).__doc__)) for name in experiment_names()]


def _tasks() -> list[tuple[str, str]]:
    from ssm_bench import registry
    from ssm_bench.data import spec

    def words(name: str) -> str:
        found = spec(name)
        pair = " (pairs of documents)" if found.documents == 2 else ""
        return f"{found.title}: {found.classes} classes, up to {found.max_length} {found.kind}{pair}"

    return [(name, words(name)) for name in registry.names("tasks")]


def _modules(package: str) -> list[tuple[str, str]]:
    from ssm_bench import registry

    return [(name, _first_line(registry.module(package, name).__doc__)) for name in registry.names(package)]


def _mixers() -> list[tuple[str, str]]:
    return _modules("models")


def _scaffolds() -> list[tuple[str, str]]:
    return _modules("scaffolds")


def _presets() -> list[tuple[str, str]]:
    from ssm_bench.sweep.presets import PRESETS

    return [(name, _first_line(preset.__doc__)) for name, preset in PRESETS.items()]
