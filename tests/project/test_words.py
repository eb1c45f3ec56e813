"""No tracked file names a place of the machine it was written on, or a host that serves packages; spelling."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Written in pieces, so that this file passes its own test.
FORBIDDEN = {
    "a folder of one machine": r"(?<![\w.])/" + r"(work|root|home/\w+|farm|opt/pypi[\w-]*)/",
    "a folder beside the repository": r"\.\./" + r"shared\b",
    "a package host": "py" + r"pi\.org|python" + r"hosted|npm" + r"js\.org|conda" + r"\.anaconda",
    "a key": "BEGIN " + r"[A-Z ]*PRIVATE KEY|ssh-" + "rsa ",
    # Spellings that codespell's dictionary lacks.
    "a British spelling": r"\b(diagonal|d[i]scret|general|initial|linear|optim|p[a]rametr|regular|vector)"
    + r"is(e|es|ed|ing|ations?)\b",
    "unfinished work": r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b",
}


def tracked() -> list[Path]:
    """The files of the repository, those that are new and not ignored included."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    found = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in found.stdout.split("\0") if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str:
    """The text of a file; empty for one that holds no text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_tracked_file_names(what):
    pattern = re.compile(FORBIDDEN[what])
    hits = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in tracked()
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if pattern.search(line)
    ]
    assert hits == []


@pytest.mark.parametrize("lock", ["constraints.txt", "constraints-3.13.txt"])
def test_a_lock_names_versions_and_hashes_alone(lock):
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    allowed = re.compile(r"\s*#.*|[a-z0-9-]+==[\w.]+( ; .*)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?|")
    assert [line for line in lines if not allowed.fullmatch(line)] == []
    assert any(line.startswith("jax==") for line in lines)


def test_the_newest_jax_that_is_allowed_is_in_a_lock():
    """What a user installs with pip has been tested."""
    pinned = re.search(r"^jax==(\d+)\.(\d+)\.(\d+)", (ROOT / "constraints-3.13.txt").read_text(encoding="utf-8"), re.M)
    cap = re.search(r'"jax>=[\d.]+,<(\d+)\.(\d+)\.(\d+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert pinned is not None and cap is not None
    major, minor, patch = map(int, pinned.groups())
    assert tuple(map(int, cap.groups())) == (major, minor, patch + 1)
