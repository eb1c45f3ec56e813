"""What the documents name exists: commands, flags, files, markers, versions."""

import importlib
import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ssm_bench
from ssm_bench import ops
from ssm_bench.cli import main, verbs

ROOT = Path(__file__).parents[2]
# The same sums in another order.
FLOAT32 = 2e-5
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = [*(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "AGENTS")), *PAGES]
#: Of the README, its generated table aside.
MOST_WORDS = 900
#: What `ssm-bench table` writes and the site contains, but not the repository.
REPORT = "results/report.html"
#: Turns of phrase that earlier pages had and readers stumbled over.
STILTED = re.compile(
    r"told from|can mend|goes on from|are born|polite kill|beyond all sense|said again|has not\.|can lend|nobody knows"
    r"|\bafresh\b|\banew\b|\bbeside\b|\blearnt\b|\bper cent\b",
)
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def commands(document: Path) -> list[str]:
    """The lines of a document's shell blocks and its inline commands, without their comments."""
    text = document.read_text(encoding="utf-8")
    blocks = [line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines()]
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    inline = re.findall(r"`((?:make|ssm-bench|python) [^`]+)`", prose)
    return [line for line in (re.sub(r"\s+#.*", "", line).strip() for line in blocks + inline) if line]


def make_verbs() -> set[str]:
    """The targets that `make help` shows."""
    return set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


def help_of(words: list[str], capsys) -> str:
    """The help text of a verb, or of its action."""
    with pytest.raises(SystemExit):
        main([*itertools.takewhile(lambda word: not word.startswith("-"), words), "--help"])
    return capsys.readouterr().out


@each_document
def test_commands_exist(document, capsys):
    for command in commands(document):
        program, *words = shlex.split(command)
        if program == "make":
            assert words[0] in make_verbs(), command
            variables = {word.partition("=")[0] for word in words[1:]}
            assert variables <= {"ARGS", "BUDGET", "EXTRAS", "PRESET", "PYTHON", "SSM_BENCH_PYTHON", "VENV"}, command
            assert all((ROOT / path).exists() for path in re.findall(r"\btests/\S*", " ".join(words))), command
        elif program == "python":
            assert (ROOT / words[0]).exists(), command
        elif program == "ssm-bench" and words[0] not in ("VERB", "--help"):
            assert words[0] in verbs(), command
            text = help_of(words, capsys)
            for flag in (word.partition("=")[0] for word in words[1:] if word.startswith("--")):
                known = "--config.x.y" if flag.startswith("--config.") else flag
                assert known in text or flag == "--help", command


@each_document
def test_files_exist(document):
    text = document.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (document.parent / link).exists() or (document.parent / link).resolve() == ROOT / REPORT, link
    named = re.findall(r"`((?:ssm_bench|experiments|tests|docs|results|scripts)/[\w./-]*)`", text)
    examples = {
        "ssm_bench/mixers/foo.py",
        "ssm_bench/scaffolds/foo.py",
        "docs/models/foo.md",
        "experiments/foo.py",
        "tests/mixers/test_foo.py",
        "ssm_bench/tasks/bar.py",
        "docs/tasks/bar.md",
    }
    made = {"results/runs/", "results/tables/", REPORT}
    for path in set(named) - examples - made:
        assert (ROOT / path).exists(), path


def test_every_page_is_reached_from_the_index():
    index = ROOT / "docs/index.md"
    linked = set(re.findall(r"\]\(([^)#:]+)", index.read_text(encoding="utf-8")))
    assert {str(page.relative_to(index.parent)) for page in PAGES if page != index} <= linked


@pytest.mark.parametrize("page", ["docs/index.md", "README.md"])
def test_the_example_of_a_mixer_runs(page):
    example, *_ = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.S)
    names = {}
    exec(example, names)
    np.testing.assert_allclose(names["y"][:, 1:], names["y_rest"], rtol=FLOAT32, atol=FLOAT32)
    np.testing.assert_allclose(names["y"][:, 0], names["y_t"], rtol=FLOAT32, atol=FLOAT32)


def test_every_page_is_in_the_navigation_of_the_site():
    places = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M)
    assert len(places) == len(set(places))
    assert all((ROOT / place).is_file() or (ROOT / place).with_suffix(".ipynb").is_file() for place in places)
    assert {str(page.relative_to(ROOT)) for page in PAGES} <= set(places)


def test_the_site_is_built_from_the_pages_and_what_they_link_to(tmp_path):
    script = [sys.executable, str(ROOT / "scripts/site.py"), str(tmp_path / "docs")]
    subprocess.run(script, check=True, capture_output=True)
    copied = {path.relative_to(tmp_path / "docs") for path in (tmp_path / "docs").rglob("*") if path.is_file()}
    assert {page.relative_to(ROOT) for page in PAGES} | {Path("README.md"), Path("docs/mathjax.js")} <= copied
    assert Path("results/figures/table/strict-accuracy-cost.svg") in copied
    assert any(path.suffix == ".json" for path in copied)
    notebook = Path("docs/quickstart.md")
    assert "```python\nimport jax\n" in (tmp_path / "docs" / notebook).read_text(encoding="utf-8")
    assert Path(REPORT) in copied
    for path in copied - {notebook, Path(REPORT)}:
        original = (ROOT / path).read_bytes().replace(b"quickstart.ipynb)", b"quickstart.md)")
        assert (tmp_path / "docs" / path).read_bytes() == original


@each_document
def test_plain_english(document):
    text = re.sub(
        r"```.*?```|<!-- (table|examples).*?<!-- (table:end|end of examples) -->",
        "",
        document.read_text(encoding="utf-8"),
        flags=re.S,
    )
    assert STILTED.findall(text) == []


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"<!-- table:begin.*?<!-- table:end -->", "", text, flags=re.S)
    assert len(text.split()) <= MOST_WORDS


def test_the_readme_opens_with_the_two_commands():
    first = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert first is not None
    assert [line.split("#")[0].strip() for line in first[1].splitlines()] == ["make reproduce-table", "make test"]


def test_the_readme_has_a_place_for_the_table():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    begins = [m.start() for m in re.finditer("<!-- table:begin ", text)]
    ends = [m.start() for m in re.finditer("<!-- table:end -->", text)]
    assert begins and len(begins) == len(ends)
    assert all(b < e for b, e in zip(begins, ends, strict=True))


def test_one_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {ssm_bench.__version__}\n" in citation


def test_this_python_is_supported():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = re.search(r'requires-python = ">=(\d+)\.(\d+)"', project)
    assert wanted is not None
    assert sys.version_info[:2] >= (int(wanted[1]), int(wanted[2]))


def test_the_api_page_lists_every_operation():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = {}
    for module, rest in re.findall(r"^::: ssm_bench\.ops\.(\w+)\n((?: .*\n)*)", page, re.M):
        names = re.search(r"members:(.*)", rest, re.S)
        assert names, module
        listed |= dict.fromkeys(re.findall(r"\w+", names[1]), module)
    assert set(listed) == set(ops.__all__)
    assert all(hasattr(importlib.import_module(f"ssm_bench.ops.{m}"), name) for name, m in listed.items())
