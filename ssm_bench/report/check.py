"""Checks of everything under results/: records, tables and figures."""

from pathlib import Path

from ssm_bench.errors import UserError
from ssm_bench.record import RunRecord, SpeedRecord, store
from ssm_bench.record.schema import inconsistencies
from ssm_bench.report import layout, peers, publish, published


def problems(root: Path | str, readme: Path | str | None = None) -> tuple[int, int, list[str]]:
    """Checks every record under `root`, then the tables, the README and the page of speed made from them.

    For records, this checks schema and ranges, the hash of the config, the path, the consistency of counts and steps,
    and the published row. For tables, it checks that regenerating them changes no byte, and for figures, that they are
    unchanged and were drawn from these records. Tables are checked only if every record can be read.

    Returns:
        The numbers of run records and of speed records, and one sentence for every problem.
    """
    found: list[str] = []
    runs: list[RunRecord] = []
    speeds: list[SpeedRecord] = []
    for path in store.paths(root):
        try:
            run = store.read(path)
        except UserError as error:
            found.append(str(error))
            continue
        runs.append(run)
        home = store.home(run, root)
        found += [f"{path}: belongs at {home}"] if path != home else []
        found += [f"{path}: {sentence}" for sentence in (*inconsistencies(run), *_published(run))]
    for path in store.speed_paths(root):
        try:
            speed = store.read_speed(path)
        except UserError as error:
            found.append(str(error))
            continue
        speeds.append(speed)
        home = store.speed_home(speed, root)
        found += [f"{path}: belongs at {home}"] if path != home else []
    all_speeds = len(speeds) == len(list(store.speed_paths(root)))
    if len(runs) == len(list(store.paths(root))):
        found += _tables(runs, root, readme, speeds if all_speeds else None)
    if readme is not None and all_speeds:
        found += _speed_page(speeds, readme)
    return len(runs), len(speeds), found + peers.problems(root) + _figures(root) + _analyses(root)


def _published(run: RunRecord) -> list[str]:
    reference = run.model.published
    if reference is None or published.known(reference.row, reference.source):
        return []
    return [f"model.published names row {reference.row!r} of {reference.source!r}, which published.csv does not have"]


def _tables(
    runs: list[RunRecord], root: Path | str, readme: Path | str | None, speeds: list[SpeedRecord] | None
) -> list[str]:
    made = publish.tables(root, records=runs)
    try:
        unlike = publish.stale(publish.contents(made, root, readme, speeds)) + publish.orphans(made, root)
    except UserError as error:
        return [str(error)]
    return [f"{path}: does not match the records; run `ssm-bench table`" for path in unlike]


def _speed_page(speeds: list[SpeedRecord], readme: Path | str) -> list[str]:
    try:
        unlike = publish.stale(publish.speed_contents(speeds, readme))
    except UserError as error:
        return [str(error)]
    return [f"{path}: does not match the records; run `ssm-bench table`" for path in unlike]


def _figures(root: Path | str) -> list[str]:
    """The problems of the figures, if there are any figures."""
    figures = Path(root) / "figures"
    if not figures.is_dir():
        return []
    presets = {path.relative_to(Path(root) / "runs").parts[0] for path in store.paths(root)}
    names = presets | ({"speed"} if any(store.speed_paths(root)) else set())
    names |= {layout.TABLE} if presets & set(layout.COMBINED) else set()
    strangers = sorted(path for path in figures.glob("[!.]*") if path.name not in names)
    found = [f"{path}: belongs to no record; delete it" for path in strangers]
    # Figures of toy runs, which the first command of most users creates, are optional.
    wanted = sorted(name for name in names if name not in layout.TOYS or (figures / name).exists())
    return found + [sentence for name in wanted for sentence in _figures_of(root, name)]


def _figures_of(root: Path | str, name: str) -> list[str]:
    """Compares the figures of one folder with the hashes stored next to them, without drawing them again."""
    folder, sources = layout.figures_of(root, name)
    drawn_from, drawn = folder / store.DRAWN_FROM, folder / store.DRAWN
    known = drawn_from.is_file() and drawn.is_file()
    if not known or drawn_from.read_text(encoding="utf-8").strip() != store.fingerprint(sources):
        return [f"{folder}: not drawn from these records; run `ssm-bench figures`"]
    there = {path.name: path for path in sorted(folder.glob("[!.]*")) if path not in (drawn_from, drawn)}
    return _unlike(drawn, there, "no figure of these records", "ssm-bench figures")


def _analyses(root: Path | str) -> list[str]:
    """Compares the files of `ssm-bench analyze`, if there are any, with the hashes stored next to them."""
    folder = layout.analyses_of(root)
    if not folder.is_dir():
        return []
    if not (folder / store.DRAWN).is_file():
        return [f"{folder}: has no {store.DRAWN}; run `ssm-bench analyze`"]
    there = {path.name: path for path in sorted(folder.glob("[!.]*")) if path.name != store.DRAWN}
    return _unlike(folder / store.DRAWN, there, "no analysis made it", "ssm-bench analyze")


def _unlike(hashes: Path, there: dict[str, Path], stranger: str, command: str) -> list[str]:
    """The differences between a file of hashes and the files next to it."""
    expected = {line.partition("  ")[2]: line for line in hashes.read_text(encoding="utf-8").splitlines()}
    found = [f"{path}: {stranger}; delete it" for file, path in there.items() if file not in expected]
    for file, line in expected.items():
        if file not in there or store.hashes({file: there[file].read_bytes()}).strip() != line:
            found.append(f"{hashes.parent / file}: not as it was drawn; run `{command}`")
    return found
