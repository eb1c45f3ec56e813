"""The storage of records: results/runs/<preset>/<task>/<model>/<name>.json and results/speed/<name>.json.

The name of a run is `identity.run_name`: the hash of its recipe, the first digits of its data's checksum, and its seed.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ssm_bench.errors import UserError
from ssm_bench.record.schema import RunRecord, SpeedRecord, validate, validate_speed

#: Files next to figures: one hash of the records that they show, and the hashes of figures in `sha256sum` format.
DRAWN_FROM = "records.sha256"
DRAWN = "figures.sha256"


def run_path(root: Path | str, preset: str, task: str, model: str, name: str) -> Path:
    """The path of a run, known before it starts.

    Args:
        root: the folder of all results, "results" in a checkout.
        preset: the preset of the run.
        task: the task of the run.
        model: the model of the run.
        name: the name from `identity.run_name`.
    """
    return Path(root) / "runs" / preset / task / model / f"{name}.json"


def home(record: RunRecord, root: Path | str) -> Path:
    """The path of a record."""
    return run_path(root, record.preset, record.task.name, record.model.name, record.name)


def speed_home(record: SpeedRecord, root: Path | str) -> Path:
    """The path of a speed record."""
    return Path(root) / "speed" / f"{record.name}.json"


def in_place_of(record: SpeedRecord, root: Path | str) -> SpeedRecord | None:
    """The existing record that this one would replace; raises the errors of `read`."""
    path = speed_home(record, root)
    return read_speed(path) if path.is_file() else None


def apart_by_device(record: SpeedRecord, root: Path | str) -> SpeedRecord:
    """The record; the kind of device is appended to its name if a record of another kind already has the name."""
    try:
        old = in_place_of(record, root)
    except UserError:
        # An unreadable file must not prevent a measurement from being stored.
        return record
    if old is None or old.device.kind == record.device.kind:
        return record
    kind = re.sub(r"[^a-z0-9]+", "-", record.device.kind.lower()).strip("-")
    return msgspec.structs.replace(record, name=f"{record.name}-{kind}")


def write(record: RunRecord, root: Path | str) -> Path:
    """Writes a record to its path atomically: a reader sees either the old file or the new one."""
    return write_text(record.to_json(), home(record, root))


def write_speed(record: SpeedRecord, root: Path | str) -> Path:
    """Writes a speed record to its path atomically."""
    return write_text(record.to_json(), speed_home(record, root))


def read(path: Path | str) -> RunRecord:
    """Reads one record.

    Raises:
        UserError: the file is not JSON, or not a record; names the file and the field.
    """
    return validate(_json(path), str(path))


def read_speed(path: Path | str) -> SpeedRecord:
    """Reads one speed record; raises the errors of `read`."""
    return validate_speed(_json(path), str(path))


def paths(root: Path | str, preset: str | None = None) -> Iterator[Path]:
    """The files of all runs, or of the runs of one preset, ordered by name."""
    yield from sorted((Path(root) / "runs" / (preset or "")).rglob("*.json"))


def speed_paths(root: Path | str) -> Iterator[Path]:
    """The files of all speed records, ordered by name."""
    yield from sorted((Path(root) / "speed").rglob("*.json"))


#: A function that receives the error message about an unreadable file.
Skip = Callable[[str], None]


def read_all(root: Path | str, preset: str | None = None, *, skip: Skip | None = None) -> list[RunRecord]:
    """All records, or those of one preset, ordered by path; empty if there are none.

    Args:
        root: the folder of all results.
        preset: only records of this preset; None: all.
        skip: called with the error message about each invalid file, which is left out; None: the first error is raised.

    Raises:
        UserError: an error of `read`, or a record is at the wrong path.
    """

    def placed(path: Path) -> RunRecord:
        record = read(path)
        # A copy would count as another seed.
        if (place := home(record, root)) != path:
            raise UserError(f"{path}: belongs at {place}: `ssm-bench verify --migrate` moves it, or delete it here")
        return record

    return _read_all(paths(root, preset), placed, skip)


def read_all_speed(root: Path | str, *, skip: Skip | None = None) -> list[SpeedRecord]:
    """All speed records, ordered by path; `skip` and errors as in `read_all`."""
    return _read_all(speed_paths(root), read_speed, skip)


def _read_all(files: Iterable[Path], read_one: Callable[[Path], Any], skip: Skip | None) -> list[Any]:
    found = []
    for path in files:
        try:
            found.append(read_one(path))
        except UserError as error:
            if skip is None:
                raise
            skip(str(error))
    return found


def fingerprint(files: Iterable[Path]) -> str:
    """One hash of the names and bytes of several files, to check whether a figure was made from them."""
    digest = hashlib.sha256()
    for path in filter(Path.is_file, files):
        digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def hashes(files: Mapping[str, bytes]) -> str:
    """One line per file with its hash and name, ordered by name, in the format of `sha256sum --check`."""
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))


def find(root: Path | str, preset: str, task: str, model: str, name: str) -> RunRecord | None:
    """The record of one run, or None if there is none."""
    path = run_path(root, preset, task, model, name)
    return read(path) if path.is_file() else None


def migrate(root: Path | str) -> list[tuple[Path, Path]]:
    """Rewrites records of earlier schema versions, and moves each run record to its path.

    Returns:
        The old and the new path of every file that changed.

    Raises:
        UserError: a record is invalid, or another file is at its path. Earlier files have already been moved.
    """
    changed = []
    for path in list(paths(root)):
        record = read(path)
        place = home(record, root)
        if place != path and place.exists():
            raise UserError(f"{path}: belongs at {place}, where there is another file: delete one of the two")
        if place != path or record.to_json() != path.read_text(encoding="utf-8"):
            write(record, root)
            changed.append((path, place))
        if place != path:
            path.unlink()
    for path in list(speed_paths(root)):
        text = read_speed(path).to_json()
        if text != path.read_text(encoding="utf-8"):
            changed.append((path, write_text(text, path)))
    return changed


def write_text(text: str, path: Path) -> Path:
    """Writes a text file atomically through a temporary file and a rename; creates missing folders.

    Raises:
        UserError: it cannot be written.
    """
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    try:
        # The rename would replace a device such as /dev/null, or a pipe, by a file.
        if path.exists() and not path.is_file():
            raise UserError(f"cannot write the file {path}: there is something else than a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot write the file {path}: {error.strerror}") from error
    return path


def _json(path: Path | str) -> dict[str, Any]:
    # Opening a pipe would wait for its writer.
    if Path(path).exists() and not Path(path).is_file():
        raise UserError(f"{path}: not a file")
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON: {error}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: a record must be a JSON object; got {type(raw).__name__}")
    return raw
