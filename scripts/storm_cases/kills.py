"""Processes that are killed at random moments, started again, and compared with those that were not."""

import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from storm_cases import raw
from storm_cases.process import Ended, fault, start
from storm_cases.runs import CELLS, TINY, difference, digest_of, files_below, records, training

SIGNALS = ("SIGKILL", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGXCPU", "SIGINT")

#: Share of the kills: training, a sweep, a sweep with two workers, preparing data, writing tables.
SHARES = {"train": 0.61, "sweep": 0.12, "workers": 0.01, "prepare": 0.16, "table": 0.1}

#: Finished commands after which a campaign gives up: its kills come too late.
_MOST_ENDS = 60


class Campaign:
    """Kills of one command, at random moments and by random signals, until there were enough."""

    def __init__(self, command: Sequence[str], folder: Path, environment: dict[str, str], seed: int, kills: int):
        """Takes the command, its working directory, and how often to kill it."""
        self.command, self.folder, self.environment = command, folder, environment
        self.rng = np.random.default_rng(seed)
        self.left = kills
        self.figures: Counter[str] = Counter()
        self.failures: list[str] = []
        #: Seconds that the command takes when it is not killed; the latest moment of a kill.
        self.span = 0.0

    def once(self, codes: Sequence[int] = (0,)) -> Ended:
        """Runs the command without a kill."""
        begun = time.monotonic()
        ended = start(self.command, self.folder, self.environment).wait()
        self.span = time.monotonic() - begun
        self._judge(ended, codes)
        return ended

    def attempt(self, *, group: bool = False) -> bool:
        """Runs the command and kills it, if a kill is left; returns whether it came to its end."""
        child = start(self.command, self.folder, self.environment)
        moment = self.span * self.rng.uniform(0.02, 1.0)
        if not self.left or not child.is_running(moment):
            ended = child.wait()
            self._judge(ended, (0,))
            self.figures["ends"] += 1
            return ended.code == 0
        name = SIGNALS[self.rng.integers(len(SIGNALS))]
        number = int(getattr(signal, name))
        codes = [0, 3, -number, 130] if name == "SIGINT" else [0, 3, -number]
        child.send(name, group=group)
        self.left -= 1
        self.figures[name] += 1
        # What saves on request may be killed while it saves.
        if name != "SIGKILL" and self.rng.uniform() < 0.3 and child.is_running(self.rng.uniform(0, 0.5)):
            child.send("SIGKILL", group=group)
            codes.append(-int(signal.SIGKILL))
            self.figures["SIGKILL while leaving"] += 1
        ended = child.wait()
        if group and not child.group_is_gone(60):
            self.failures.append(f"processes are left after {name}: {ended.what}")
        self._judge(ended, codes)
        return False

    def _judge(self, ended: Ended, codes: Sequence[int]) -> None:
        if why := fault(ended, codes):
            self.failures.append(why)

    def until_enough(self, check: Callable[[], str], *, fresh: Callable[[], None], after: Callable[[], str] = str):
        """Kills the command until no kill is left, and checks what it leaves.

        Args:
            check: called where the command came to its end; what is wrong with what it made, or "".
            fresh: called after that, to start again.
            after: called after each kill; what is wrong then, or "".
        """
        while self.left and self.figures["ends"] < _MOST_ENDS:
            while not self.attempt() and self.figures["ends"] < _MOST_ENDS:
                self.failures += [f"after a kill: {why}" for why in [after()] if why]
            self.failures += [f"after {self.figures} kills: {why}" for why in [check()] if why]
            self.figures["compared"] += 1
            fresh()


def train(folder: Path, environment: dict[str, str], seed: int, kills: int) -> Campaign:
    """Training: the record of a run that was killed is that of one that was not."""
    campaign = Campaign(training(*CELLS[seed % len(CELLS)]), folder, environment, seed, kills)
    campaign.once()
    expected = records(folder)

    def fresh() -> None:
        for name in ("results", "checkpoints"):
            shutil.rmtree(folder / name, ignore_errors=True)

    def after() -> str:
        return "" if len(records(folder)) <= 1 else "more than one record"

    fresh()
    campaign.until_enough(lambda: difference(records(folder), expected), fresh=fresh, after=after)
    return campaign


def sweep(folder: Path, environment: dict[str, str], seed: int, kills: int, jobs: int = 1) -> Campaign:
    """A sweep of two cells and its table; with two workers, the whole group of processes is killed."""
    models = ["--models", ",".join(sorted(model for model, _ in CELLS)), "--tasks", "text", "--jobs", str(jobs)]
    campaign = Campaign(["sweep", "--preset", "quick", *models, *TINY], folder, environment, seed, kills)
    campaign.once()
    expected, tables = records(folder), files_below(folder / "results" / "tables")

    def is_finished() -> bool:
        return len(found := records(folder)) == 2 and all(record["status"] == "ok" for record in found.values())

    while campaign.left and campaign.figures["compared"] < _MOST_ENDS:
        for name in ("results", "checkpoints"):
            shutil.rmtree(folder / name, ignore_errors=True)
        # A sweep that was stopped exits with 0, too; killed workers leave an error, which the next sweep tries again.
        while campaign.figures["ends"] < _MOST_ENDS and not (campaign.attempt(group=jobs > 1) and is_finished()):
            pass
        campaign.once()
        made = {name: hashed for name, hashed in files_below(folder / "results" / "tables").items() if name in tables}
        if why := difference(records(folder), expected) or ("" if made == tables else "the tables differ"):
            campaign.failures.append(f"sweep after kills: {why}")
        campaign.figures["compared"] += 1
    return campaign


def prepare(folder: Path, environment: dict[str, str], seed: int, kills: int) -> Campaign:
    """Preparing data again: what is opened afterwards is the set, and nothing else is left."""
    raw.listops(folder / "raw", seed, rows=20_000)
    environment = environment | {"SSM_BENCH_RAW": str(folder / "raw"), "SSM_BENCH_CACHE": str(folder / "cache")}
    command = ["data", "prepare", "listops", "--workers", "1", "--again"]
    campaign = Campaign(command, folder, environment, seed, kills)
    campaign.once()

    def content() -> str:
        ended = start(digest, folder, environment).wait()
        return fault(ended, (0,)) or ended.out

    def digest() -> None:
        print(digest_of("listops"))

    expected = content()

    def check() -> str:
        if (found := content()) != expected:
            return f"other data: {found}"
        left = [path.name for path in (folder / "cache").iterdir() if path.suffix != ".lock"]
        return "" if len(left) == 1 else f"left in the cache: {left}"

    campaign.until_enough(check, fresh=lambda: None, after=check)
    return campaign


def table(folder: Path, environment: dict[str, str], seed: int, kills: int) -> Campaign:
    """Writing tables: each file is absent or complete, and the next command completes all of them."""
    start(training(*CELLS[0]), folder, environment).wait()
    campaign = Campaign(["table"], folder, environment, seed, kills)
    campaign.once()
    tables = folder / "results" / "tables"
    expected = files_below(tables)

    def visible() -> dict[str, str]:
        return {name: hashed for name, hashed in files_below(tables).items() if not Path(name).name.startswith(".")}

    def after() -> str:
        return "" if visible().items() <= expected.items() else "a table is incomplete"

    def fresh() -> None:
        shutil.rmtree(tables)

    fresh()
    campaign.until_enough(lambda: "" if visible() == expected else "the tables differ", fresh=fresh, after=after)
    return campaign


def workers(folder: Path, environment: dict[str, str], seed: int, kills: int) -> Campaign:
    """A sweep with two worker processes."""
    return sweep(folder, environment, seed, kills, jobs=2)


#: Campaigns of the short form.
SHORT = (("train", 1), ("prepare", 1), ("table", 1))

CAMPAIGNS = {"train": train, "sweep": sweep, "workers": workers, "prepare": prepare, "table": table}


def cases(kills: int, most: int = 15) -> list[tuple[str, int]]:
    """Campaigns of at most `most` kills each, as (name, kills), the long ones first."""
    found = []
    for name, share in SHARES.items():
        left = max(1, round(kills * share))
        while left > 0:
            found.append((name, min(left, most)))
            left -= most
    return sorted(found, key=lambda case: ("workers", "sweep", "train", "prepare", "table").index(case[0]))


def run(case: tuple[str, int], folder: Path, environment: dict[str, str], seed: int) -> tuple[Counter, list[str]]:
    """One campaign; returns its figures and what went wrong."""
    name, kills = case
    campaign = CAMPAIGNS[name](folder, environment, seed, kills)
    done = sum(campaign.figures[signal] for signal in SIGNALS)
    figures = Counter({f"kills of {name}": done, "kills": done, "comparisons": campaign.figures["compared"]})
    figures.update({key: value for key, value in campaign.figures.items() if key.startswith("SIG")})
    if campaign.left:
        campaign.failures.append(f"{name}: {campaign.left} kills came after the end")
    return figures, campaign.failures
