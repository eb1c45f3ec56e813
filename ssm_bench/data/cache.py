"""The prepared cache: a folder per task, tokenization and kind of source, with memory-mapped arrays and a card.

A prepared folder never changes. Preparing a set again makes a new folder (`text-characters-official`, then
`text-characters-official.2`, ...) under a temporary name and renames it once it is complete; the newest one counts, and
older ones are removed afterwards. A reader therefore sees one set or the other, never a mixture and never none.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from ssm_bench.data import integrity
from ssm_bench.data.card import ARRAYS, array_facts, checksum, new_card
from ssm_bench.data.corpus import Corpus, Vocabulary
from ssm_bench.data.task import Task
from ssm_bench.data.work import Work
from ssm_bench.errors import UserError

#: The environment variable that names the cache; without it, ~/.cache/ssm_bench.
VARIABLE = "SSM_BENCH_CACHE"

#: Incremented whenever folders written before can no longer be read. 2: checksums of the files and of the card.
FORMAT = 2

#: Kinds of sources, the best first.
KINDS = ("official", "rebuilt", "generated")

# A listing during a replacement may miss both folders; the next one does not.
_LISTINGS = 3

_GENERATION = re.compile(r"\.([1-9][0-9]*)")


def root() -> Path:
    """The folder of the cache; it may not exist yet.

    Raises:
        UserError: the user has no home directory, and no folder is named.
    """
    named = os.environ.get(VARIABLE)
    try:
        return Path(named).expanduser() if named else Path.home() / ".cache" / "ssm_bench"
    except RuntimeError as error:
        raise UserError(f"there is no home directory for the cache; set {VARIABLE} to a folder") from error


def cache_path(task: Task, tokens: str, kind: str) -> Path:
    """The folder of one set as it is first prepared; when it is prepared again, a number is appended."""
    return root() / f"{task.data_name}-{tokens}-{kind}"


def newest(base: Path) -> Path | None:
    """The folder that holds a set now, or None where it is not prepared."""
    for _ in range(_LISTINGS):
        if found := _generations(base):
            return found[-1]
    return None


def _generations(base: Path) -> list[Path]:
    """The folders of a set, the oldest first."""
    found = {}
    with suppress(OSError), os.scandir(base.parent) as entries:
        for entry in entries:
            if entry.name.startswith(base.name) and entry.is_dir():
                number = _number(entry.name[len(base.name) :])
                if number:
                    found[number] = base.parent / entry.name
    return [found[number] for number in sorted(found)]


def _number(suffix: str) -> int:
    """1 for the first folder of a set, 2 for the next, ...; 0 for another set."""
    match = _GENERATION.fullmatch(suffix)
    return 1 if not suffix else int(match[1]) if match and match[1] != "1" else 0


def _base(folder: Path) -> Path:
    return folder.with_name(folder.name.partition(".")[0])


def scratch_of(folder: Path) -> Path:
    """Where a set that takes long to make keeps its finished parts until it is prepared; it may not exist yet."""
    return folder.parent / f".{folder.name}.parts"


def prepared(task: Task, tokens: str) -> list[tuple[str, Path]]:
    """The kinds of source that are prepared, the best first, with their folders."""
    folders = [(kind, newest(cache_path(task, tokens, kind))) for kind in KINDS]
    return [(kind, folder) for kind, folder in folders if folder]


def read_card(folder: Path) -> dict:
    """The card of a prepared folder.

    Raises:
        UserError: it is missing, damaged, of another version or of another set.
    """
    card = _json_of(folder)
    if card.get("format") != FORMAT:
        raise damaged(folder, "card.json was written by another version")
    proof = card.pop("card_sha256", None)
    if proof != integrity.text_sha256(card):
        raise damaged(folder, "card.json is not what was written: its checksum differs")
    if not folder.name.startswith(f"{card['task']}-{card['tokens']}-"):
        raise damaged(folder, f"it holds another set, {card['task']} in {card['tokens']}")
    return card


def is_outdated(folder: Path) -> bool:
    """Whether a complete folder was written by an earlier version of this package."""
    with suppress(UserError):
        number = _json_of(folder).get("format")
        return isinstance(number, int) and 1 <= number < FORMAT
    return False


def _json_of(folder: Path) -> dict:
    path = folder / "card.json"
    try:
        if path.exists() and not path.is_file():
            raise damaged(folder, "card.json is not a file")
        card = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(folder, "card.json cannot be read") from error
    if not isinstance(card, dict):
        raise damaged(folder, "card.json is not what was written")
    return card


def open_corpus(folder: Path, classes: int) -> tuple[Corpus, dict]:
    """Opens a prepared set: memory-mapped arrays, proven to be what was written, and the card.

    Args:
        folder: of the set. Where it was replaced meanwhile, the newest folder of that set is opened.
        classes: number of labels.

    Raises:
        UserError: a file is missing or is not what was written; the sentence says how to prepare the set again.
    """
    while True:
        try:
            return _open(folder, classes)
        except (UserError, OSError) as error:
            replaced = newest(_base(folder))
            if replaced and replaced != folder:
                folder = replaced
            elif isinstance(error, UserError):
                raise
            elif isinstance(error, FileNotFoundError):
                raise damaged(folder, _reason(error)) from error
            else:
                raise UserError(f"{folder} cannot be read ({_reason(error)})") from error


def _open(folder: Path, classes: int, *, trust_stamp: bool = True) -> tuple[Corpus, dict]:
    card = read_card(folder)
    if wrong := integrity.wrong_files(folder, _files(card), trust_stamp=trust_stamp):
        raise damaged(folder, "; ".join(wrong))
    corpus = Corpus(
        **{name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS},
        parts=card["parts"],
        vocabulary=Vocabulary(card["tokens"], tuple(card["vocabulary"])),
        identity=card["identity"],
        kind=card["kind"],
        source=card["source"],
        notes=card["notes"],
    )
    if wrong := integrity.impossible(corpus, classes, card["max_length"]):
        raise damaged(folder, "; ".join(wrong))
    return corpus, card


def _files(card: dict) -> dict[str, dict]:
    """The files of a set with their sizes and checksums."""
    return {f"{name}.npy": card["arrays"][name]["file"] for name in ARRAYS}


def _reason(error: OSError) -> str:
    return f"{Path(error.filename).name if error.filename else 'a file'}: {error.strerror or error}"


def store(task: Task, tokens: str, kind: str, read: Callable[[], Corpus], work: Work, *, again: bool = False) -> Path:
    """Reads a corpus and stores it, unless it is stored already.

    Locked, so that of two processes one prepares and the other waits.

    Args:
        task: whose data.
        tokens: the tokenization.
        kind: the kind of source.
        read: makes the corpus.
        work: for its reports.
        again: replace what is stored.

    Returns:
        The folder.

    Raises:
        UserError: the cache cannot be written, `read` failed or gave impossible data; nothing is left behind, and what
            was stored stays.
    """
    base = cache_path(task, tokens, kind)
    with _locked(base, work):
        _remove_leftovers(base)
        stored = newest(base)
        if again or not stored:
            corpus = read()
            if wrong := integrity.impossible(corpus, task.spec.classes, task.spec.max_length):
                raise UserError(f"{corpus.source} gives impossible data for {task.spec.name} ({'; '.join(wrong)})")
            stored = _written(task, corpus, base, stored)
            shutil.rmtree(scratch_of(base), ignore_errors=True)
            integrity.remember_written(stored, _files(read_card(stored)))
            _remove_leftovers(base)
    return stored


def tidy() -> None:
    """Removes what killed preparations left in the cache, except where a living process is preparing that set.

    Finished parts of a generated set stay: the next preparation of that set continues from them.
    """
    bases = set()
    with suppress(OSError), os.scandir(root()) as entries:
        for entry in entries:
            if entry.name.startswith(".") and entry.name.endswith((".partial", ".old")):
                bases.add(entry.name.removeprefix(".").rpartition(".")[0])
            elif _number("." + entry.name.partition(".")[2]) > 1:
                bases.add(entry.name.partition(".")[0])
    for name in bases:
        base = root() / name
        with suppress(Timeout, OSError), _lock_of(base).acquire(timeout=0):
            _remove_leftovers(base)


def verify(folder: Path, classes: int) -> list[str]:
    """Recomputes every checksum and count of a prepared folder; returns what is wrong, one sentence each."""
    try:
        corpus, card = _open(folder, classes, trust_stamp=False)
    except OSError as error:
        return [str(damaged(folder, _reason(error)))]
    except UserError as error:
        return [str(error)]
    facts = {name: array_facts(getattr(corpus, name)) for name in ARRAYS}
    if checksum(facts) != card["checksum"]:
        return [str(damaged(folder, "the card's checksum is not that of its arrays"))]
    return []


def damaged(folder: Path, reason: str) -> UserError:
    """The error for a folder that cannot be used, with what to do."""
    task, tokens, _ = _base(folder).name.rsplit("-", 2)
    option = " --tokens bytes" if tokens == "bytes" else ""
    return UserError(f"{folder} is damaged ({reason}); run: ssm-bench data prepare {task}{option} --again")


def _written(task: Task, corpus: Corpus, base: Path, stored: Path | None) -> Path:
    """Writes a new folder and gives it its name once it is complete."""
    number = _number(stored.name[len(base.name) :]) + 1 if stored else 1
    folder = base if number == 1 else base.with_name(f"{base.name}.{number}")
    partial = _partial_of(base)
    try:
        partial.mkdir()
        card = {"format": FORMAT, **new_card(task, corpus, task.spec.max_length)}
        for name in ARRAYS:
            path = partial / f"{name}.npy"
            _save(path, getattr(corpus, name))
            card["arrays"][name]["file"] = {"bytes": path.stat().st_size, "sha256": integrity.file_sha256(path)}
        # As it reads back: keys of JSON are text.
        card = json.loads(json.dumps(card))
        text = json.dumps({**card, "card_sha256": integrity.text_sha256(card)}, indent=1)
        (partial / "card.json").write_text(text + "\n", "utf-8")
        partial.rename(folder)
    except OSError as error:
        raise _unwritable(base.parent, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _remove_leftovers(base: Path) -> None:
    """Removes half-written and superseded folders of a set; the caller holds its lock."""
    for left in (_partial_of(base), base.with_name(f".{base.name}.old"), *_generations(base)[:-1]):
        shutil.rmtree(left, ignore_errors=True)


def _partial_of(base: Path) -> Path:
    return base.with_name(f".{base.name}.partial")


def _lock_of(base: Path) -> FileLock:
    return FileLock(base.with_name(f".{base.name}.lock"))


def _save(path: Path, array: np.ndarray) -> None:
    """Writes an array; one that fills a file of its own is given a second name instead of a copy."""
    if isinstance(array, np.memmap) and array.filename and array.ndim == 1:
        whole = array.offset + array.nbytes == Path(array.filename).stat().st_size
        with suppress(OSError):
            if whole:
                os.link(array.filename, path)
                return
    np.save(path, array, allow_pickle=False)


@contextmanager
def _locked(base: Path, work: Work) -> Iterator[None]:
    lock = _lock_of(base)
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            work.say(f"another process is preparing {base.name}: waiting for it")
            lock.acquire()
    except OSError as error:
        raise _unwritable(base.parent, error) from error
    try:
        yield
    finally:
        lock.release()


def _unwritable(folder: Path, error: OSError) -> UserError:
    reason = error.strerror or str(error)
    return UserError(f"the cache at {folder} cannot be written ({reason}); set {VARIABLE} to another folder")
