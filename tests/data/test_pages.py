"""Each task has a page, whose examples a command makes."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssm_bench import registry
from ssm_bench.data import spec
from ssm_bench.data.task import PROBE
from ssm_bench.errors import UserError
from ssm_bench.tasks._listops_evaluator import OPERATORS
from tests.data import files

PAGES = Path(__file__).parents[2] / "docs" / "tasks"


@pytest.mark.parametrize("task", registry.names("tasks"))
def test_every_task_has_a_page(task):
    page = (PAGES / f"{'probes' if spec(task).suite == PROBE else task}.md").read_text("utf-8")
    assert spec(task).title in page
    assert "hortcuts" in page
    assert "**License" in page
    assert "```bibtex" in page or "citation" in page
    assert "```text" in page or (f"({task}.png)" in page and (PAGES / f"{task}.png").exists())


@pytest.mark.parametrize("task", ["text", "retrieval"])
def test_the_examples_of_a_page_are_those_of_its_command(task, tmp_path, monkeypatch):
    page = (PAGES / f"{task}.md").read_text("utf-8")
    # The command in the page names the page from the root of the checkout.
    (tmp_path / "docs" / "tasks").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    copy = Path("docs/tasks") / f"{task}.md"
    begin, end = page.index("<!-- examples:"), page.index("<!-- end of examples -->")
    copy.write_text(f"{page[:begin]}<!-- examples: -->\n{page[end:]}", "utf-8")
    files.run("describe", task, "--data", "synthetic", "--examples", "6", "--out", str(copy))
    assert copy.read_text("utf-8") == page


def test_the_picture_is_that_of_its_command(tmp_path):
    files.run("describe", "image", "--data", "synthetic", "--examples", "6", "--out", str(tmp_path / "image.png"))
    with Image.open(tmp_path / "image.png") as made, Image.open(PAGES / "image.png") as shown:
        # The captions above depend on Pillow's font.
        assert (np.asarray(made)[20:] == np.asarray(shown)[20:]).all()


def test_the_expressions_of_the_page_begin_as_expressions():
    blocks = (PAGES / "listops.md").read_text("utf-8").split("```text\n")[1:]
    assert len(blocks) == 6
    assert all(block.split()[0] in OPERATORS for block in blocks)


def test_a_new_page_holds_the_examples_alone(raw_folder, tmp_path, capsys):
    files.listops(raw_folder)
    page = tmp_path / "new" / "page.md"
    assert files.run("describe", "listops", "--examples", "2", "--out", str(page)) == 0
    text = page.read_text("utf-8")
    assert text.count("```text") == 2
    assert "Label 2, 6 tokens:\n\n```text\n[SM 0 7 5 ]\n```" in text
    assert text.startswith("<!-- examples: ssm-bench data describe listops")
    files.run("describe", "listops", "--examples", "1", "--out", str(page))
    assert page.read_text("utf-8").count("```text") == 1


@pytest.mark.parametrize(("task", "name", "told"), [("text", "x.png", ".md"), ("image", "x.md", ".png")])
def test_another_suffix_is_told(task, name, told, tmp_path):
    with pytest.raises(UserError, match=f"must end in {told}"):
        files.run("describe", task, "--data", "synthetic", "--out", str(tmp_path / name))


def test_what_is_no_page_is_told_and_stays(raw_folder, tmp_path):
    files.listops(raw_folder)
    (tmp_path / "latin.md").write_bytes(b"caf\xe9\n")
    os.mkfifo(tmp_path / "pipe.md")
    for name, told in (("latin.md", "is not UTF-8 text"), ("pipe.md", "is not a file")):
        with pytest.raises(UserError, match=told):
            files.run("describe", "listops", "--out", str(tmp_path / name))
    assert (tmp_path / "latin.md").read_bytes() == b"caf\xe9\n"
