"""The list of settings and its page follow from the schema and the constructors."""

from pathlib import Path

import pytest

from ssm_bench.cli import main
from ssm_bench.config import SETTINGS
from ssm_bench.sweep.settings import markdown, sections

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_follows_from_the_schema():
    assert PAGE.read_text(encoding="utf-8") == markdown(), (
        "run `ssm-bench list settings --format markdown --out docs/settings.md`"
    )


@pytest.mark.parametrize(("title", "rows"), list(sections()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_option_is_described(title, rows):
    for row in rows:
        assert row.type in ("bool", "int", "float", "str"), row
        assert row.help.endswith("."), f"{row.name} of {title} has no line in the Args: of its constructor"


def test_every_setting_is_listed_in_plain_text(capsys):
    assert main(["list", "settings"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [setting.name for setting in SETTINGS]
    assert main(["list", "settings", "--format", "csv"]) == 2
    assert "unknown --format 'csv'; allowed: markdown" in capsys.readouterr().err
