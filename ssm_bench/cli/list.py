"""`ssm-bench list`: available models, tasks, mixers, scaffolds, presets and settings."""

import argparse
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from ssm_bench.cli import _options
from ssm_bench.errors import UserError, unknown_name

HELP = "list models, tasks, mixers, scaffolds, presets or settings"
EXAMPLE = """examples:
  ssm-bench list models
  ssm-bench list models --format latex --out results/tables/models.tex
  ssm-bench list settings
  ssm-bench list settings --format markdown --out docs/settings.md

With --format, `list models` writes a table with the kind of system, parameters and state size of each model on every
task, like Table I of arXiv 2403.16899. The values come from the classes and the published recipes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this verb."""
    parser.add_argument("what", nargs="?", default="models", help=f"one of {', '.join(ROWS)} (default: models)")
    parser.add_argument("--format", default="", help="models: csv, latex or markdown; settings: markdown")
    parser.add_argument("--models", type=_options.names, default=[], help="rows of the table (default: all)")
    parser.add_argument("--data", default="auto", help="data that determine vocabularies: auto, real or synthetic")
    parser.add_argument("--out", type=Path, help="write the table to this file")


def run(options: argparse.Namespace) -> int:
    """Prints one line per item with its name first, or writes a table."""
    if options.what not in ROWS:
        raise unknown_name("list", options.what, ROWS)
    if options.format:
        return _table(options)
    for flag, given in {"--out": options.out, "--models": options.models}.items():
        if given:
            raise UserError(f"{flag} needs a table: give its --format")
    rows = ROWS[options.what]()
    width = max(len(name) for name, _ in rows)
    for name, words in rows:
        print(f"{name:{width}}  {words}")
    return 0


def _table(options: argparse.Namespace) -> int:
    from ssm_bench.config import experiment_names
    from ssm_bench.data import spec
    from ssm_bench.report.layout import TASKS
    from ssm_bench.report.model_table import FORMATS
    from ssm_bench.sweep.model_rows import model_rows
    from ssm_bench.sweep.progress import Screen

    if options.what not in ("models", "settings"):
        raise UserError(f"--format is for list models and list settings, not for list {options.what}")
    formats = FORMATS if options.what == "models" else ("markdown",)
    if options.format not in formats:
        raise unknown_name("--format", options.format, formats)
    if options.out and options.out.is_dir():
        raise UserError(f"--out takes a file to write; {options.out} is a folder")
    if options.what == "settings":
        from ssm_bench.sweep.settings import markdown

        return _written(markdown(), options.out)
    screen = Screen()

    def tell(words: str) -> None:
        if screen.live:
            screen.update(words)

    titles = {task: spec(task).title for task in TASKS}
    rows, notes = model_rows(options.models or experiment_names(), list(titles), data=options.data, tell=tell)
    if screen.live:
        screen.line(f"{len(rows)} models")
    return _written(FORMATS[options.format](rows, titles, notes), options.out)


def _written(text: str, out: Path | None) -> int:
    from ssm_bench.record.store import write_text

    if out:
        print(f"wrote {write_text(text, out)}")
    else:
        sys.stdout.write(text)
    return 0


def _described(names: Iterable[str], find: Callable[[str], object]) -> list[tuple[str, str]]:
    """Each name with the first line of its description; for a plug-in that cannot be imported, the error."""
    rows = []
    for name in names:
        try:
            text = find(name).__doc__ or ""
        except UserError as error:
            text = f"({error})"
        rows.append((name, next(iter(text.strip().splitlines()), "")))
    return rows


def _models() -> list[tuple[str, str]]:
    from ssm_bench.config import experiment, experiment_names

    return _described(experiment_names(), experiment)


def _tasks() -> list[tuple[str, str]]:
    from ssm_bench import registry
    from ssm_bench.data import spec
    from ssm_bench.data.task import LRA

    def words(name: str) -> str:
        try:
            found = spec(name)
        except UserError as error:
            return f"({error})"
        pair = " (pairs of documents)" if found.documents == 2 else ""
        suite = "" if found.suite == LRA else f" ({found.suite})"
        return f"{found.title}: {found.classes} classes, up to {found.max_length} {found.kind}{pair}{suite}"

    return [(name, words(name)) for name in registry.names("tasks")]


def _modules(package: str) -> list[tuple[str, str]]:
    from ssm_bench import registry

    return _described(registry.names(package), partial(registry.module, package))


def _mixers() -> list[tuple[str, str]]:
    return _modules("mixers")


def _scaffolds() -> list[tuple[str, str]]:
    return _modules("scaffolds")


def _presets() -> list[tuple[str, str]]:
    from ssm_bench.sweep.presets import PRESETS

    return _described(PRESETS, PRESETS.__getitem__)


def _settings() -> list[tuple[str, str]]:
    from ssm_bench.sweep.settings import schema_rows

    return [
        (row.name, f"{row.help} {row.type}, default {row.default or 'empty'}{row.values and f'; {row.values}'}")
        for row in schema_rows()
    ]


#: Kind of item -> function that returns names and descriptions.
ROWS: dict[str, Callable[[], list[tuple[str, str]]]] = {
    "models": _models,
    "tasks": _tasks,
    "mixers": _mixers,
    "scaffolds": _scaffolds,
    "presets": _presets,
    "settings": _settings,
}
