"""The authors' repositories: which commits are timed, and what is replaced in two of them to run with today's packages.

Clone each next to the others and check its commit out:

  git clone https://github.com/lindermanlab/S5 CODE/S5 && git -C CODE/S5 checkout 3c18fdb
  git clone https://github.com/NicolasZucchet/minimal-LRU CODE/minimal-LRU && git -C CODE/minimal-LRU checkout bbd71b1
  git clone https://github.com/state-spaces/s4 CODE/s4 && git -C CODE/s4 checkout e757cef
  git clone https://github.com/state-spaces/mamba CODE/mamba && git -C CODE/mamba checkout e9594ce

A machine without network can have an export in place of a clone, a folder without `.git` and with the commit in a file:

  git -C CODE/S5 archive 3c18fdb s5 | tar -x -C EXPORTS/S5 && git -C CODE/S5 rev-parse 3c18fdb > EXPORTS/S5/COMMIT
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from ssm_bench.errors import UserError

#: The file of an export that holds its commit.
EXPORT = "COMMIT"


@dataclass(frozen=True)
class Replacement:
    """A text of one file, how often it stands there, and what takes its place."""

    file: str
    old: str
    new: str
    times: int = 1


@dataclass(frozen=True)
class Repository:
    """A repository on GitHub, "owner/name", at the commit that is timed."""

    name: str
    commit: str
    replacements: tuple[Replacement, ...] = ()

    def folder(self, code: Path) -> Path:
        """Where its clone stands in the folder of all clones."""
        return code / self.name.partition("/")[2]


S5 = Repository(
    "lindermanlab/S5",
    "3c18fdb6b06414da35e77b94b9cd855f6a95ef17",
    (
        # Names that JAX and Flax have dropped since.
        Replacement("s5/train_helpers.py", 'variables["params"].unfreeze()', 'variables["params"]', times=2),
        Replacement("s5/train_helpers.py", "jax.tree_leaves(", "jax.tree.leaves("),
        Replacement("s5/ssm.py", "np.DeviceArray", "np.ndarray", times=4),
    ),
)
LRU = Repository("NicolasZucchet/minimal-LRU", "bbd71b1104c399ec0d13819527d791949e66f599")
S4 = Repository("state-spaces/s4", "e757cef57d89e448c413de7325ed5601aceaac13")

#: Put before the first template of selective_scan.cpp: of all types float alone is compiled.
FLOAT_ONLY = """\
#undef DISPATCH_ITYPE_FLOAT_AND_HALF_AND_BF16
#undef DISPATCH_WTYPE_FLOAT_AND_COMPLEX
#define DISPATCH_ITYPE_FLOAT_AND_HALF_AND_BF16(ITYPE, NAME, ...) { using input_t = float; __VA_ARGS__(); }
#define DISPATCH_WTYPE_FLOAT_AND_COMPLEX(WTYPE, NAME, ...) { using weight_t = float; __VA_ARGS__(); }

"""
_FIRST_TEMPLATE = "template<typename input_t, typename weight_t>"
_COMPLEX_FORWARD = "template void selective_scan_fwd_cuda<float, complex_t>"
MAMBA = Repository(
    "state-spaces/mamba",
    "e9594ce1c732d97440f0332fdc43170a2294dbfa",
    (
        Replacement("csrc/selective_scan/selective_scan.cpp", _FIRST_TEMPLATE, FLOAT_ONLY + _FIRST_TEMPLATE),
        Replacement("csrc/selective_scan/selective_scan_fwd_fp32.cu", _COMPLEX_FORWARD, f"// {_COMPLEX_FORWARD}"),
    ),
)


def prepare(repository: Repository, code: Path) -> Path:
    """Makes the replacements in a clone, where they are not made yet.

    Args:
        code: the folder in which the clones stand.

    Returns:
        The folder of the clone.

    Raises:
        UserError: there is no clone, it is at another commit, a text is not in it, or a file has other changes.
    """
    folder = repository.folder(code)
    if exported := not (folder / ".git").exists() and (folder / EXPORT).is_file():
        commit = (folder / EXPORT).read_text(encoding="utf-8").strip()
    elif (folder / ".git").exists():
        commit = _git(folder, "rev-parse", "HEAD").strip()
    else:
        raise UserError(
            f"there is no clone of {repository.name} at {folder}: "
            f"git clone https://github.com/{repository.name} {folder}"
        )
    if commit != repository.commit:
        raise UserError(
            f"{folder} is at commit {commit[:7]}; what is timed is {repository.commit[:7]}: "
            f"git -C {folder} checkout {repository.commit}"
        )
    for file in dict.fromkeys(replacement.file for replacement in repository.replacements):
        replacements = [replacement for replacement in repository.replacements if replacement.file == file]
        path = folder / file
        found = path.read_text(encoding="utf-8") if path.is_file() else ""
        if exported and all(_made(found, replacement) for replacement in replacements):
            continue
        original = found if exported else _git(folder, "show", f"HEAD:{file}")
        text = original
        for replacement in replacements:
            text = _replace(text, replacement, folder)
        if found not in (original, text):
            raise UserError(f"{path} has changes of its own; undo them: git -C {folder} checkout {file}")
        path.write_text(text, encoding="utf-8")
    return folder


def _made(text: str, replacement: Replacement) -> bool:
    """Whether a replacement has been made: the new text is there, and the old one only where the new one holds it."""
    new = text.count(replacement.new)
    return new >= replacement.times and text.count(replacement.old) == new * replacement.new.count(replacement.old)


def _replace(text: str, replacement: Replacement, folder: Path) -> str:
    if (times := text.count(replacement.old)) != replacement.times:
        raise UserError(
            f"{folder / replacement.file} holds {replacement.old!r} {times} times; expected: {replacement.times}"
        )
    return text.replace(replacement.old, replacement.new)


def _git(folder: Path, *arguments: str) -> str:
    # A clone that another user made, or that was copied here, is as good.
    command = ["git", "-c", "safe.directory=*", "-C", str(folder), *arguments]
    found = subprocess.run(command, capture_output=True, encoding="utf-8")
    if found.returncode:
        raise UserError(f"git {arguments[0]} in {folder} failed: {found.stderr.strip()}")
    return found.stdout
