"""Copies the pages and the repository files that they link to into one folder, from which the documentation is built.

Pages link to each other, to the README, to records and to figures by relative paths, so that they can be read in a
repository viewer. MkDocs accepts links inside its source folder only. The copy has the same layout as the repository.
Notebooks become pages: `docs/quickstart.ipynb` is copied as `docs/quickstart.md`, and so are the links to it.
`results/report.html` is made from the records, which are copied too.
"""

import json
import re
import shutil
import sys
from pathlib import Path

from ssm_bench.report import page
from ssm_bench.report.page import content

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
LINK = re.compile(r"\]\(([^)#:\s]+)[^)]*\)")
NOTEBOOK_LINK = re.compile(r"(\]\([^)#:\s]+)\.ipynb\b")


def stage(target: Path) -> list[Path]:
    """Copies all pages, and the files that they link to, to `target`; returns the copied paths.

    A link to a folder stays as it is. A link to a missing file is left to MkDocs, which reports it.
    """
    shutil.rmtree(target, ignore_errors=True)
    waiting = [ROOT / name for name in PAGES] + sorted((ROOT / "docs").rglob("*.*"))
    copied: dict[Path, Path] = {}
    while waiting:
        source = waiting.pop()
        if source in copied or not source.is_file() or not source.is_relative_to(ROOT):
            continue
        copied[source] = target / source.relative_to(ROOT)
        copied[source].parent.mkdir(parents=True, exist_ok=True)
        if source.suffix not in (".md", ".ipynb"):
            shutil.copyfile(source, copied[source])
            continue
        text = source.read_text(encoding="utf-8")
        if source.suffix == ".ipynb":
            copied[source] = copied[source].with_suffix(".md")
            text = page_of(text)
        waiting += [(source.parent / link).resolve() for link in LINK.findall(text)]
        copied[source].write_text(NOTEBOOK_LINK.sub(r"\1.md", text), encoding="utf-8")
    return list(copied.values())


def page_of(notebook: str) -> str:
    """The cells of a notebook as Markdown, without outputs."""
    texts = [("".join(cell["source"]), cell["cell_type"]) for cell in json.loads(notebook)["cells"]]
    return "\n\n".join(f"```python\n{text}\n```" if kind == "code" else text for text, kind in texts) + "\n"


def report(target: Path) -> list[Path]:
    """Writes the page of all results, and copies the records that it links to; returns the paths."""
    results = content.read(ROOT / "results")
    path = target / "results" / page.NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page.build(results), encoding="utf-8")
    records = [Path("results") / place for place in content.plain(results)["records"]]
    for record in records:
        (target / record).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / record, target / record)
    return [path, *(target / record for record in records)]


if __name__ == "__main__":
    (folder,) = sys.argv[1:]
    print(f"{len({*stage(Path(folder)), *report(Path(folder))})} files in {folder}")
