"""TensorFlow Datasets (TFDS) as a source: official archives, and what its own builders have prepared.

TFDS knows the addresses and checksums of the archives. Only its download manager is used, and that needs no TensorFlow;
the archives are read by the task's own reader, so a downloaded set and the user's copy give the same arrays.
"""

import shutil
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from ssm_bench.data import cache
from ssm_bench.data.work import Work
from ssm_bench.errors import UserError

_CONNECTION_SECONDS = 10.0


def archive(builder: str, file_name: str, wanted: str, work: Work) -> Path:
    """Downloads an archive that a builder of TensorFlow Datasets registers, checksum proved.

    Args:
        builder: for example "imdb_reviews".
        file_name: the last part of the archive's address.
        wanted: what the user can do instead, as the end of a sentence.
        work: for its reports.

    Returns:
        The path of the archive, kept in the cache for another tokenization.

    Raises:
        UserError: TensorFlow Datasets is not installed, the host is out of reach, or the file is not as published.
    """
    try:
        import tensorflow_datasets as tfds

        infos = tfds.builder_cls(builder).url_infos or {}
    except ImportError as error:
        raise UserError(
            f"downloading {file_name} needs TensorFlow Datasets (make setup EXTRAS=data; {error}); or {wanted}"
        ) from error
    kept = cache.root() / "downloads" / file_name
    if kept.exists():
        return kept
    url = next(url for url in infos if url.endswith(file_name))
    _reach(url, wanted)
    work.say(f"downloading {url}")
    if not work.progress:
        tfds.disable_progress_bar()
    folder = kept.with_name(f".{file_name}.partial")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(kept.with_name(f".{file_name}.lock")):
            # What a killed download left.
            shutil.rmtree(folder, ignore_errors=True)
            if not kept.exists():
                manager = tfds.download.DownloadManager(
                    download_dir=folder, url_infos=infos, force_checksums_validation=True
                )
                # Moved to its place once it is complete: a broken download leaves nothing.
                try:
                    Path(manager.download(url)).replace(kept)
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
    # TFDS raises errors of its own, of requests and of the operating system; each means the same to the user.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"downloading {url} failed ({reason.rstrip(':')}); {wanted}") from error
    return kept


def prepared_examples(
    folder: Path, counts: dict[str, int], title: str, work: Work
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """What a builder of TensorFlow Datasets prepared, read without TensorFlow.

    Args:
        folder: that of the version, with dataset_info.json.
        counts: how many examples each split should have.
        title: of the task, for the report.
        work: for its reports.

    Yields:
        The split, the place in it and the features of each example.

    Raises:
        UserError: TensorFlow Datasets is not installed, or the files are broken or not in the format array_record.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(f"reading {folder} needs TensorFlow Datasets (make setup EXTRAS=data; {error})") from error
    # It raises errors of its own, of protocol buffers and of array_record.
    try:
        builder = tfds.builder_from_directory(folder)
        found = {split: builder.as_data_source(split) for split in counts}
        with work.bar(f"{title}: reading {folder}", sum(counts.values())) as advance:
            for split, source in found.items():
                if len(source) != counts[split]:
                    raise ValueError(f"{len(source):,} examples in {split}, not {counts[split]:,}")
                for number, row in enumerate(source):
                    yield split, number, row
                    advance(1)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{folder} cannot be read ({reason}); prepare all of it, with "
            f'tfds.builder("{folder.parts[-2]}", file_format="array_record")'
        ) from error


def _reach(url: str, wanted: str) -> None:
    """Asks for a connection first: the download manager would retry for minutes without a network."""
    if urllib.request.getproxies():
        return
    parts = urllib.parse.urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), timeout=_CONNECTION_SECONDS).close()
    except OSError as error:
        raise UserError(f"{parts.hostname} cannot be reached to download {url}; {wanted}") from error
