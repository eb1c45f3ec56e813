"""The prepared cache: a folder per task, tokenisation and kind of source, with memory-mapped arrays and a card."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from ssm_bench.data.card import ARRAYS, array_facts, checksum, new_card
from ssm_bench.data.corpus import Corpus, Vocabulary
from ssm_bench.data.task import Task
from ssm_bench.data.work import Work
from ssm_bench.errors import UserError

#: The environment variable that names the cache; without it, ~/.cache/ssm_bench.
VARIABLE = "SSM_BENCH_CACHE"

#: Raised by one whenever folders made before can no longer be read.
FORMAT = 1

#: Kinds of sources, the best first.
KINDS = ("official", "rebuilt", "generated")


def root() -> Path:
    """The folder of the cache; it may not exist yet."""
    return Path(os.environ.get(VARIABLE) or Path.home() / ".cache" / "ssm_bench").expanduser()


def path_of(task: Task, tokens: str, kind: str) -> Path:
    """The folder of one prepared set."""
    return root() / f"{task.data_name}-{tokens}-{kind}"


def scratch_of(folder: Path) -> Path:
    """Where a set that takes long to make keeps its finished parts until it is prepared; it may not exist yet."""
    return folder.parent / f".{folder.name}.parts"


def prepared(task: Task, tokens: str) -> list[tuple[str, Path]]:
    """The kinds of source that are prepared, the best first, with their folders."""
    folders = [(kind, path_of(task, tokens, kind)) for kind in KINDS]
    return [(kind, folder) for kind, folder in folders if folder.is_dir()]


def read_card(folder: Path) -> dict:
    """The card of a prepared folder.

    Raises:
        UserError: it is missing, broken or of another version.
    """
    try:
        card = json.loads((folder / "card.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise damaged(folder, "its card.json cannot be read") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise damaged(folder, "it was written by another version")
    if missing := {"arrays", "parts", "tokens", "vocabulary", "checksum", "identity"} - set(card):
        raise damaged(folder, f"its card lacks {', '.join(sorted(missing))}")
    return card


def open_corpus(folder: Path) -> tuple[Corpus, dict]:
    """Opens a prepared folder: memory-mapped arrays, and the card without its record of files.

    Raises:
        UserError: an array is missing or has another size than when it was written.
    """
    card = read_card(folder)
    arrays = {}
    for name in ARRAYS:
        path = folder / f"{name}.npy"
        size = path.stat().st_size if path.exists() else 0
        if size != card["arrays"][name]["bytes"]:
            raise damaged(folder, f"{name}.npy has {size:,} bytes, not {card['arrays'][name]['bytes']:,}")
        try:
            arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise damaged(folder, f"{name}.npy cannot be read") from error
    corpus = Corpus(
        **arrays,
        parts=card["parts"],
        vocabulary=Vocabulary(card["tokens"], tuple(card["vocabulary"])),
        identity=card["identity"],
        kind=card["kind"],
        source=card["source"],
        notes=card["notes"],
    )
    return corpus, card


def store(task: Task, tokens: str, kind: str, read: Callable[[], Corpus], work: Work, *, again: bool = False) -> Path:
    """Reads a corpus and stores it, unless it is stored already.

    Written beside its place and renamed, so that a folder in the cache is always whole; locked, so that of two
    processes one prepares and the other waits.

    Args:
        task: whose data.
        tokens: the tokenisation.
        kind: the kind of source.
        read: makes the corpus.
        work: for its reports.
        again: replace what is stored.

    Returns:
        The folder.

    Raises:
        UserError: the cache cannot be written, or `read` failed; nothing is left behind.
    """
    folder = path_of(task, tokens, kind)
    with _locked(folder, work):
        if again or not folder.is_dir():
            corpus = read()
            with _writing(folder) as partial:
                _write(task, corpus, partial)
            shutil.rmtree(scratch_of(folder), ignore_errors=True)
    return folder


def verify(folder: Path, classes: int) -> list[str]:
    """Recomputes every checksum and count of a prepared folder; returns what is wrong, one sentence each."""
    try:
        corpus, card = open_corpus(folder)
    except UserError as error:
        return [str(error)]
    facts = {name: array_facts(getattr(corpus, name)) for name in ARRAYS}
    wrong = [
        f"{name}.npy is not what was written: its checksum differs"
        for name in ARRAYS
        if facts[name]["sha256"] != card["arrays"][name]["sha256"]
    ]
    examples, documents = len(corpus.labels), len(corpus.offsets) - 1
    checks = {
        "the card's checksum is not that of its arrays": checksum(facts) == card["checksum"] or bool(wrong),
        "the documents do not fill the values": corpus.offsets[0] == 0
        and corpus.offsets[-1] == len(corpus.values)
        and bool((np.diff(corpus.offsets) > 0).all()),
        "a document is longer than the task allows": int(np.diff(corpus.offsets).max()) <= card["max_length"],
        "an example names a document that does not exist": len(corpus.documents) == examples
        and 0 <= int(corpus.documents.min()) <= int(corpus.documents.max()) < documents,
        f"a label lies outside 0..{classes - 1}": 0 <= int(corpus.labels.min()) <= int(corpus.labels.max()) < classes,
        "the parts do not add up to the examples": sum(corpus.parts.values()) == examples,
        "a token lies outside the vocabulary": not corpus.vocabulary.tokens
        or int(corpus.values.max()) < len(corpus.vocabulary.tokens),
    }
    return wrong + [sentence for sentence, holds in checks.items() if not holds]


def damaged(folder: Path, reason: str) -> UserError:
    """The error for a folder that cannot be used, with what to do."""
    task = folder.name.rsplit("-", 2)[0]
    return UserError(f"{folder} is damaged ({reason}); run: ssm-bench data prepare {task} --again")


def _write(task: Task, corpus: Corpus, folder: Path) -> None:
    card = {"format": FORMAT, **new_card(task, corpus, task.spec.max_length)}
    for name in ARRAYS:
        path = folder / f"{name}.npy"
        _save(path, getattr(corpus, name))
        card["arrays"][name]["bytes"] = path.stat().st_size
    (folder / "card.json").write_text(json.dumps(card, indent=1) + "\n", "utf-8")


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
def _locked(folder: Path, work: Work) -> Iterator[None]:
    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            work.say(f"another process is preparing {folder.name}: waiting for it")
            lock.acquire()
    except OSError as error:
        raise _unwritable(folder.parent, error) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _writing(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of `folder` when all went well, and vanishes otherwise."""
    partial, old = (folder.parent / f".{folder.name}.{state}" for state in ("partial", "old"))
    try:
        # What a killed process may have left; this one holds the lock, so nobody is writing there.
        for stale in (partial, old):
            shutil.rmtree(stale, ignore_errors=True)
        partial.mkdir()
        yield partial
        if folder.exists():
            folder.replace(old)
        partial.replace(folder)
    except OSError as error:
        raise _unwritable(folder.parent, error) from error
    finally:
        for done in (partial, old):
            shutil.rmtree(done, ignore_errors=True)


def _unwritable(folder: Path, error: OSError) -> UserError:
    reason = error.strerror or str(error)
    return UserError(f"the cache at {folder} cannot be written ({reason}); set {VARIABLE} to another folder")
