"""Copies the pages and the repository files that they link to into one folder, from which the documentation is built.

Pages link to each other, to the README, to records and to figures by relative paths, so that they can be read in a
repository viewer. MkDocs accepts links inside its source folder only. The copy has the same layout as the repository.
"""

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
LINK = re.compile(r"\]\(([^)#:\s]+)[^)]*\)")


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
        shutil.copyfile(source, copied[source])
        if source.suffix == ".md":
            links = LINK.findall(source.read_text(encoding="utf-8"))
            waiting += [(source.parent / link).resolve() for link in links]
    return list(copied.values())


if __name__ == "__main__":
    (folder,) = sys.argv[1:]
    print(f"{len(stage(Path(folder)))} files in {folder}")
