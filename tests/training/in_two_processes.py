"""Runs by two processes: `test_processes` starts this script twice and looks at what they leave."""

import shutil
import sys
from pathlib import Path

from ssm_bench.cli import main
from ssm_bench.errors import UserError
from ssm_bench.training import run as run_module
from ssm_bench.training.processes import SharedStop, check_alike, everywhere, lead
from ssm_bench.training.run import run

from .sharing import shared
from .test_loop import SIZES, config_of, silent

# Beside batch statistics, Fourier transforms and masks: dropout, and evaluation batches that two do not divide.
SETTINGS = ("--config.train.eval_batch_size=7", "--config.train.batch_size=6")
MODEL = "s4d"


class StopOfOne(SharedStop):
    """A request to stop before the third chunk, which reaches only one of the processes."""

    def __init__(self, number):
        super().__init__()
        self.number, self.asked = number, 0

    def reason(self, ahead=None):
        # Only the loop says what comes next; it asks once more after compiling.
        self.asked += ahead is not None
        self.signal = "SIGUSR1" if self.number == 1 and self.asked > 3 else ""
        return super().reason(ahead or 0.0)


def fails(number):
    """Something that this process cannot do."""
    raise UserError(f"nothing for {number}")


def run_all(coordinator: str, number: int, folder: Path) -> None:
    """Leaves the records of two runs and a checkpoint of half a run below the folder, and prints what is refused."""
    run_module.make_program = shared(run_module.make_program)
    command = ("train", "--model", MODEL, "--task", "text", "--preset", "quick", "--data", "synthetic", "--seed", "1")
    # Checkpoints are in one folder. What is in the second folder of results was written by the second process.
    results = folder / f"results of {number}"
    outputs = ("--results", str(results / "whole"), "--checkpoints", str(folder / "whole"))
    several = ("--coordinator", coordinator, "--processes", "2", "--process", str(number))
    print(main([*command, *SIZES, *SETTINGS, *outputs, *several]))
    # The processes have met; what follows is as with the flags.
    config, dataset = config_of(*SETTINGS, "--config.train.data_on=host", model=MODEL)
    for stop in (StopOfOne(number), SharedStop()):
        places = {"results": results / "parts", "checkpoints": folder / "parts"}
        (record,) = run(config, dataset, **places, stop=stop, tell=silent, devices=2)
        print(record.message, flush=True)
        if number == 0 and record.status == "partial":
            shutil.copytree(folder / "parts", folder / "handed over" / "ckpt")
    for refused in (
        lambda: check_alike(f"run {number}"),
        lambda: everywhere(lambda: fails(number) if number else None),
        lambda: lead(lambda: fails(number)),
    ):
        try:
            refused()
        except UserError as error:
            print(error, flush=True)


if __name__ == "__main__":
    run_all(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
