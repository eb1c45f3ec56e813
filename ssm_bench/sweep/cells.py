"""The cells of a sweep and their execution; finished cells are skipped, and failed ones do not end the sweep."""

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ml_collections import ConfigDict

from ssm_bench.data import Dataset
from ssm_bench.errors import UserError
from ssm_bench.record import RunRecord, config_hash, run_name, store
from ssm_bench.sweep.budget import NoMemory, check_budget, planned_share
from ssm_bench.sweep.progress import Progress, TimeLeft
from ssm_bench.sweep.recipe import resolve, when_opened
from ssm_bench.training import checkpoint, provenance, tracking
from ssm_bench.training.checkpoint import UnderWay, lock_file
from ssm_bench.training.checks import writable
from ssm_bench.training.devices import check_shares
from ssm_bench.training.identity import recipe
from ssm_bench.training.outcome import Outcome
from ssm_bench.training.recording import make_record
from ssm_bench.training.run import earlier, make_trainer, open_data, outdated, revision_words, run, with_seed
from ssm_bench.training.stop import Stop, Stopped


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One model on one task with one seed, or with several seeds `together` in one program.

    Attributes:
        together: other seeds that are trained in the same program as `seed`.
        choices: settings of this cell; None: the settings of the sweep.
        seconds: minimum time before the deadline; with less, the cell is not started.
    """

    model: str
    task: str
    seed: int
    together: tuple[int, ...] = ()
    choices: "Choices | None" = None
    seconds: float = 0.0

    @property
    def seeds(self) -> tuple[int, ...]:
        """All of its seeds."""
        return self.seed, *self.together


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Settings that cells share; the fields are the arguments of `resolve`."""

    preset: str
    protocol: str = "strict"
    data: str = ""
    share: float | None = None
    overrides: tuple[str, ...] = ()

    def config(self, cell: Cell) -> ConfigDict:
        """The configuration of a cell with its own settings or else these; raises the errors of `resolve`."""
        return resolve(cell.model, cell.task, seed=cell.seed, **vars(cell.choices or self))


def cells(
    models: Iterable[str],
    tasks: Iterable[str],
    seeds: Iterable[int],
    *,
    together: bool = False,
    choices: Choices | None = None,
) -> list[Cell]:
    """Every combination: first seeds before second ones, then by task, so that a data set is opened once per seed."""
    models, tasks = list(models), list(tasks)
    if together:
        first, *others = seeds
        return [
            Cell(model=m, task=t, seed=first, together=tuple(others), choices=choices) for t in tasks for m in models
        ]
    return [Cell(model=m, task=t, seed=s, choices=choices) for s in seeds for t in tasks for m in models]

    # Cells are ordered by task, so it is enough to cache one data set.


@lru_cache(maxsize=1)
def _open(task: str, settings: str, protocol: str) -> tuple[dict, Dataset]:
    config, dataset = open_data(ConfigDict({"task": json.loads(settings), "protocol": protocol}), progress=True)
    return config.task.to_dict(), dataset


def opened(config: ConfigDict) -> tuple[ConfigDict, Dataset]:
    """`open_data`, remembering the last data set."""
    task, dataset = _open(config.task.name, config.task.to_json(), config.protocol)
    config = config.copy_and_resolve_references()
    config.task = ConfigDict(task)
    return config, dataset


#: Statuses of runs, the worst first.
STATUSES = ("error", "oom", "diverged", "partial", "ok")


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs the cells of a sweep in this process.

    Attributes:
        choices: settings of all cells without their own settings.
        results: the folder of all results.
        checkpoints: the folder of all checkpoints.
        rerun: whether to repeat finished runs.
        seconds: time for each cell, which determines its share of the schedule; None: the share is set by `choices`.
        devices: number of devices per cell.
        track: tracker of the runs, as for `run`.
    """

    choices: Choices
    results: Path
    checkpoints: Path
    rerun: bool = False
    seconds: float | None = None
    devices: int = 1
    track: str = ""

    def run(self, cell: Cell, stop: Stop, progress: Progress) -> str:
        """Runs a cell without a finished record; a failure is recorded.

        Returns:
            The status of its run; "skipped"; "under way" if another process trains it; or "stopped" if there was no
            time to start.
        """
        config = dataset = None
        try:
            config, dataset = self.config_of(cell, stop)
            if self.seconds is not None:
                share = config.train.steps / config.train.published_steps
                progress.label += f" ({100 * share:.3g} % of the schedule)"
            before = self._before(cell, config, dataset, progress)
            seeds = [s for s in cell.seeds if s not in before]
            if not seeds:
                words = "; ".join(f"{summary(record)}, {revision_words(record)}" for record in before.values())
                progress.end(f"skipped, finished before: {words}")
                return "skipped"
            records = run(
                with_seed(config, seeds[0]),
                dataset,
                results=self.results,
                checkpoints=self.checkpoints,
                stop=stop,
                tell=progress,
                afresh=self.rerun,
                devices=self.devices,
                seeds=seeds if len(seeds) > 1 else (),
                track=self.track,
            )
        except Stopped as stopped:
            progress.end(f"{stopped} before the first step: nothing has changed")
            return "stopped"
        except UnderWay as error:
            progress.end(str(error))
            return "under way"
        except UserError as error:
            progress.end(f"error: {error}")
            return "error"
        except NoMemory as error:
            # Memory does not depend on the share, so the record has the share of the preset.
            return self._failed(cell, *opened(self.choices.config(cell)), "oom", str(error), progress)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            message = f"{type(error).__name__}: {error}"
            if config is None or dataset is None:
                # Without data or a number of steps, there can be no record.
                progress.end(f"error: {_short(message)}")
                return "error"
            return self._failed(cell, config, dataset, "error", message, progress)
        progress.end("; ".join(map(summary, records)))
        # With several seeds, the worst status.
        return min((record.status for record in records), key=STATUSES.index)

    def compile(self, cell: Cell, stop: Stop) -> None:
        """Compiles the programs of a cell that `run` would train, which adds them to the compilation cache.

        With `seconds`, nothing is compiled, since the share of the schedule is not known yet. Raises the errors that
        `run` reports.
        """
        if self.seconds is not None:
            return
        config, dataset = self.config_of(cell, stop)
        before = self._before(cell, config, dataset)
        if seeds := [seed for seed in cell.seeds if seed not in before]:
            several = seeds if len(seeds) > 1 else ()
            make_trainer(with_seed(config, seeds[0]), dataset, devices=self.devices, seeds=several).compile(stop)

    def fail(self, cell: Cell, message: str, progress: Progress) -> str:
        """Records a cell whose process died, or only reports it if its number of steps is unknown."""
        try:
            # The timing of steps may have ended the process, so it is not repeated in this one.
            config, dataset = self.config_of(cell, Stop(), timing=False)
        except Exception as error:
            if not isinstance(error, UserError):
                traceback.print_exc(file=sys.stderr)
            progress.end(f"error: {_short(message)}")
            return "error"
        return self._failed(cell, config, dataset, "error", message, progress)

    def config_of(self, cell: Cell, stop: Stop, *, timing: bool = True) -> tuple[ConfigDict, Dataset]:
        """The configuration of a cell, with the share of its schedule that fits into its time, and its data.

        Without `timing`, only a share that was chosen before is used.

        Raises:
            UserError, NoMemory, Stopped: from `resolve`, `open_data` and `planned_share`.
        """
        config, dataset = opened(self.choices.config(cell))
        if self.seconds is None:
            return config, dataset

        def at_share(share: float) -> ConfigDict:
            return replace(self.choices, share=share).config(cell)

        share = planned_share(
            config,
            dataset,
            self.seconds,
            self.checkpoints,
            at_share=at_share,
            stop=stop,
            devices=self.devices,
            timing=timing,
        )
        return opened(at_share(share))

    def _before(
        self, cell: Cell, config: ConfigDict, dataset: Dataset, progress: Progress | None = None
    ) -> dict[int, RunRecord]:
        """The seeds of a cell that are not repeated, and their records; reports why others are repeated."""
        if self.rerun:
            return {}
        kept = {}
        for seed in cell.seeds:
            if record := earlier(with_seed(config, seed), dataset, self.results, devices=self.devices):
                if not (why := outdated(record)):
                    kept[seed] = record
                elif progress:
                    progress.screen.line(f"{progress.label}: runs again, {why}")
        return kept

    def _failed(
        self, cell: Cell, config: ConfigDict, dataset: Dataset, status: str, message: str, progress: Progress
    ) -> str:
        outcome = Outcome(status=status, message=_short(message))
        for seed in set(cell.seeds) - set(self._before(cell, config, dataset)):
            one = with_seed(config, seed)
            record = make_record(one, dataset, outcome, devices=self.devices)
            store.write(record, self.results)
        progress.end(f"{status}: {outcome.message}")
        return status


def _short(message: str) -> str:
    """The first line of a message, which may be a page long."""
    return message.splitlines()[0][:300]


def check(wanted: Sequence[Cell], runner: Runner) -> None:
    """Checks all cells before the first one starts.

    Raises:
        UserError: an invalid name or setting, a folder that cannot be written to, a note that is not text, or a tracker
            that is not installed.
    """
    tracking.check(runner.track)
    for cell in wanted:
        config = runner.choices.config(cell)
        if runner.seconds is not None:
            check_budget(config)
        if runner.devices > 1:
            check_shares(config, runner.devices)
    writable(runner.results, runner.checkpoints)
    provenance.note()


def labels(wanted: Sequence[Cell]) -> list[str]:
    """The labels of the cells in progress lines, for example "[3/24] s5 text seed 0"."""
    count = len(wanted)
    return [
        f"[{i}/{count}] {c.model} {c.task} seed{'s' * bool(c.together)} {', '.join(map(str, c.seeds))}"
        for i, c in enumerate(wanted, 1)
    ]


def sweep(wanted: Sequence[Cell], runner: Runner, stop: Stop) -> list[tuple[Cell, str]]:
    """Runs cells one after another in this process; a failure is recorded and does not stop the next cell.

    Returns:
        Every cell that was reached, with its status.

    Raises:
        UserError: as `check`.
    """
    check(wanted, runner)
    label = dict(zip(wanted, labels(wanted), strict=True))

    def visit(some: Sequence[Cell]) -> list[tuple[Cell, str]]:
        reached, left = [], TimeLeft(len(some))
        for cell in some:
            if not stop.reason(ahead=cell.seconds):
                progress = Progress(label[cell])
                reached.append((cell, runner.run(cell, stop, progress)))
                if words := left.ended(time.monotonic() - progress.begun):
                    progress.screen.line(words)
        return reached

    return returning(visit, wanted, runner)


def returning(
    visit: Callable[[Sequence[Cell]], list[tuple[Cell, str]]], wanted: Sequence[Cell], runner: Runner
) -> list[tuple[Cell, str]]:
    """Visits all cells, and then once more those that another process was training and that none trains now.

    If that process finished the cell, the second visit skips it. If the process died, the second visit trains it.
    """
    reached = visit(wanted)
    free = {
        cell
        for cell, status in reached
        if status == "under way" and not holder(cell, runner.choices, runner.checkpoints)
    }
    if not free:
        return reached
    again = [cell for cell, _ in reached if cell in free]
    return [(cell, status) for cell, status in reached if cell not in free] + visit(again)


def holder(cell: Cell, choices: Choices, checkpoints: Path) -> str:
    """The process that trains a cell, such as "4711 on node3"; empty if there is none. No data set is opened.

    With `Runner.seconds`, whose share of the schedule is chosen later, no process is found.
    """
    config = choices.config(cell)
    home = checkpoints / config.preset / config.task.name / config.model.name
    for each in when_opened(config):
        for seed in cell.seeds:
            # The checksum of the data, between hash and seed, may be known only on machines where they are prepared.
            name = run_name(config_hash(recipe(each)), "*", [seed])
            for file in sorted(home.glob(lock_file(home / name).name)):
                if found := checkpoint.holder(home / file.name.removeprefix(".").removesuffix(".lock")):
                    return found
    return ""


def summary(record: RunRecord) -> str:
    """A record in a few words."""
    if record.result is None:
        return f"{record.status}: {record.message}"
    accuracy = f"{100 * record.result.test_accuracy:.2f} %"
    return f"{record.status}, test {accuracy} at step {record.result.best_step}, data: {record.data.identity}"
