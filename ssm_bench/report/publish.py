"""Writes the tables to results/tables and into pages between markers."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ssm_bench.data.dataset import PROTOCOLS
from ssm_bench.errors import UserError
from ssm_bench.record import RunRecord, SpeedRecord, store
from ssm_bench.report import findings, layout, render, runs, speed
from ssm_bench.report.peers import values as peers_of
from ssm_bench.report.summary import summary
from ssm_bench.report.table import Peer, Peers, Table, build, kinds

#: The markers of a table in a page: <!-- table:begin table-strict --> ... <!-- table:end -->.
BEGIN = re.compile(r"<!-- table:begin (?P<name>[\w.-]+) -->")
END = "<!-- table:end -->"

#: The names of files that this module writes; a user-defined preset may have hyphens in its name.
GENERATED = re.compile(
    rf"(?P<name>[\w.-]+-({'|'.join(map(re.escape, PROTOCOLS))}))(-runs|-standalone)?\.(csv|tex|md|bib)"
)


def tables(
    root: Path | str,
    preset: str | None = None,
    protocol: str | None = None,
    records: list[RunRecord] | None = None,
    skip: store.Skip | None = None,
) -> list[Table]:
    """The tables of the records under `root`, optionally only those that show a preset or a protocol.

    Args:
        root: the folder of all results.
        preset: only tables that show this preset.
        protocol: only tables of this protocol.
        records: all records, if they have been read already.
        skip: as in `store.read_all`.

    Raises:
        UserError: an error of `store.read_all`.
    """
    records = store.read_all(root, skip=skip) if records is None else records
    found = peers(root, records)
    suites = {record.task.suite for record in records}
    wanted = {layout.table_of(preset, suite) for suite in suites} if preset else {kind for kind, _ in kinds(records)}
    return [
        build(records, *kind, peers=found)
        for kind in kinds(records)
        if kind[0] in wanted and protocol in (None, kind[1])
    ]


def peers(root: Path | str, records: Iterable[RunRecord]) -> Peers:
    """The finished results of the authors' own code on the data of these records."""
    found = {}
    for checksum in sorted({record.data.checksum for record in records}):
        for (model, task), run in peers_of(root, checksum).items():
            if run.status == "ok" and run.result is not None:
                share = run.steps.done / run.steps.published if run.steps.published else None
                found[model, task, checksum] = Peer(100 * run.result.test_accuracy, share, run.implementation)
    return found


def contents(
    made: list[Table],
    root: Path | str,
    readme: Path | str | None = None,
    speeds: Iterable[SpeedRecord] | None = None,
) -> dict[Path, str]:
    """Path -> text of all files of the tables; pages are included only if they exist and have markers.

    Args:
        made: the tables; all of them if `speeds` are given.
        root: the folder of all results.
        readme: the page with markers.
        speeds: all speed records; without them the list of runs is left out.

    Raises:
        UserError: a marker in the README is not closed.
    """
    texts = {Path(root) / "tables" / name: text for table in made for name, text in render.files(table).items()}
    if speeds is not None:
        texts |= {Path(root) / "tables" / name: text for name, text in (runs.files(made) if made else {}).items()}
    if readme is not None and (path := Path(readme)).is_file():
        found = peers(root, [run for table in made for run in table.records])
        blocks = {table.name: render.markdown_compact(_for_readme(table, found)) for table in made}
        if shown := comparison(made):
            blocks["headline"] = render.md(findings.headline(shown, len(findings.parametrizations(root))))
        texts[path] = readme_text(path.read_text(encoding="utf-8"), blocks, str(path))
        texts |= _findings(made, root, path.parent / "docs" / "findings.md")
    return texts


def comparison(made: Iterable[Table]) -> Table | None:
    """The table of published recipes under the protocol strict, if it is among some tables."""
    return next((table for table in made if (table.kind, table.protocol) == (layout.TABLE, "strict")), None)


def _findings(made: Iterable[Table], root: Path | str, path: Path) -> dict[Path, str]:
    """Path -> text of the page on the table of published recipes; empty without the page or the table."""
    shown = comparison(made)
    if shown is None or not path.is_file():
        return {}
    blocks = findings.blocks(shown, findings.parametrizations(root))
    return {path: readme_text(path.read_text(encoding="utf-8"), blocks, str(path))}


def _for_readme(table: Table, found: Peers) -> Table:
    """Only the rows of arXiv 2403.16899, Table II; tables of other runs have all their rows."""
    titles: Sequence[str] = list(layout.TABLE_TWO) if table.kind == layout.TABLE else ()
    return build(table.records, table.kind, table.protocol, titles=titles, peers=found)


def speed_page(readme: Path | str) -> Path:
    """The page of speed records, docs/performance.md next to the README; it may not exist."""
    return Path(readme).parent / "docs" / "performance.md"


def speed_contents(records: Iterable[SpeedRecord], readme: Path | str) -> dict[Path, str]:
    """Path -> text of the page of speed records; empty where there is no such page.

    Raises:
        UserError: a marker in the page is not closed.
    """
    path = speed_page(readme)
    if not path.is_file():
        return {}
    records = list(records)
    blocks = speed.blocks(records) | {"speed-summary": summary(records, "../results/speed")}
    return {path: readme_text(path.read_text(encoding="utf-8"), blocks, str(path))}


def readme_text(text: str, blocks: Mapping[str, str], where: str = "README.md") -> str:
    """The README with the text between markers replaced by the block of the same name; other names are unchanged.

    Raises:
        UserError: a begin marker has no end marker.
    """
    written, rest = [], text
    while begin := BEGIN.search(rest):
        end = rest.find(END, begin.end())
        following = BEGIN.search(rest, begin.end())
        if end < 0 or (following and following.start() < end):
            raise UserError(f"{where}: {begin.group()} is not closed by {END}")
        block = blocks.get(begin["name"])
        inner = rest[begin.end() : end] if block is None else f"\n{block}\n"
        written.append(rest[: begin.end()] + inner + END)
        rest = rest[end + len(END) :]
    return "".join(written) + rest


def write(texts: Mapping[Path, str]) -> list[Path]:
    """Writes the files that have changed; returns their paths."""
    return [store.write_text(texts[path], path) for path in stale(texts)]


def stale(texts: Mapping[Path, str]) -> list[Path]:
    """The files that are missing or have other content."""
    return [path for path, text in texts.items() if not path.is_file() or path.read_bytes() != text.encode()]


def orphans(made: list[Table], root: Path | str) -> list[Path]:
    """Files of tables without records."""
    known = {table.name for table in made}
    found = sorted((Path(root) / "tables").glob("*"))
    return [path for path in found if (match := GENERATED.fullmatch(path.name)) and match["name"] not in known]
