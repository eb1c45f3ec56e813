"""The LaTeX is well formed everywhere, and compiles without a warning where pdflatex is installed."""

import re
import shutil
import subprocess

import pytest

from ssm_bench.report import render
from ssm_bench.report.table import build

from .samples import budget, quick, record


@pytest.fixture(params=["table", "quick", "accents"])
def table(request):
    """Tables with every special case."""
    if request.param == "accents":
        return build([record("accents", "text", 50.0, identity='caf\u00e9 \u4e2d \u03bb "a" ~^\\')], "table", "strict")
    return build(budget() if request.param == "table" else quick(), request.param, "strict")


def test_structure(table):
    source = render.latex(table)
    assert source.isascii()
    plain = re.sub(r"\\[{}]", "", source)
    assert plain.count("{") == plain.count("}")
    body = source[source.index(r"\toprule") : source.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    # A toy run has no published value to show.
    lines = 2 if table.kind == "quick" else 3
    assert len(rows) == 2 + lines * (len(table.rows) - 1)
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(table.columns)}
    assert re.findall(r"\\begin\{(\w+)\}", source) == ["tabular", "minipage"]
    assert re.findall(r"\\end\{(\w+)\}", source) == ["tabular", "minipage"]


def test_rows_beyond_a_page_go_on_in_another_tabular(tmp_path):
    models = [f"model{number}" for number in range(28)]
    table = build([record(model, "text", 50.0) for model in models], "table", "strict")
    source = render.latex(table)
    first, second = re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", source, re.DOTALL)
    # The row of chance is the first of all.
    assert [part.count("Text") for part in (first, second)] == [1, 1]
    assert [part.count("model") for part in (first, second)] == [14, 14]
    test_compiles(table, tmp_path, pages=2)


def test_compiles(table, tmp_path, pages=1):
    pdflatex = shutil.which("pdflatex")
    if pdflatex is None:
        pytest.skip("pdflatex is not installed; test_structure has looked at the source")
    for name, text in render.files(table).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [pdflatex, "-interaction=nonstopmode", "-halt-on-error", f"{table.name}-standalone.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "too large" not in done.stdout
    assert f"({pages} page" in done.stdout
