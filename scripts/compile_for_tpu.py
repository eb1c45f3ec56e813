"""Compiles training steps for a TPU on a machine that has none: `python scripts/compile_for_tpu.py --models s5,s4`.

It needs the package libtpu (`make setup EXTRAS=tpu`). Nothing is run: what it shows is that XLA for TPUs takes the
program, how long that takes, and how much memory a step needs.
"""

import argparse
import inspect
import os
import sys
import time

# Where the compiler would look for the machine's own TPU.
os.environ |= {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
}

import jax
import jax.numpy as jnp
from jax.experimental import topologies

from ssm_bench.config import experiment_names
from ssm_bench.errors import UserError
from ssm_bench.ops import use_backend
from ssm_bench.sweep.cells import Cell, Choices, opened
from ssm_bench.training.run import make_trainer


def compile_step(model: str, task: str, preset: str, place: jax.sharding.Sharding) -> jax.stages.Compiled:
    """Two training steps of a model, with the backends of the reference, as a program for a device.

    Raises:
        UserError: an unknown name.
    """
    choices = Choices(preset=preset, data="synthetic", overrides=("--config.train.lengths=1",))
    config, dataset = opened(choices.config(Cell(model=model, task=task, seed=0)))
    trainer = make_trainer(config, dataset)
    examples, sizes = trainer.order.batches(0, 2)
    data, places = trainer.source.take(examples)
    inputs = (trainer.program.initial_state(), data, jnp.asarray(places), jnp.asarray(sizes))
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), inputs)
    # The program itself is bound to the devices of this machine.
    train = jax.jit(inspect.unwrap(trainer.program.train), donate_argnums=0, static_argnames="padded")
    # What "auto" takes here is meant for this machine.
    with use_backend("associative"):
        return train.lower(*shapes, trainer.padded).compile()


def main() -> int:
    """Compiles one model after another; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(experiment_names()), help="default: all")
    parser.add_argument("--task", default="listops", help="default: listops")
    parser.add_argument("--preset", default="quick", help="quick (toy size, the default) or paper")
    parser.add_argument("--topology", default="v5e:2x2", help="default: v5e:2x2; or v6e:2x2")
    options = parser.parse_args()
    devices = topologies.get_topology_desc(platform="tpu", topology_name=options.topology).devices
    place = jax.sharding.SingleDeviceSharding(devices[0])
    print(f"{devices[0].device_kind}, jax {jax.__version__}: compiled, not run")
    failed = 0
    for model in options.models.split(","):
        begun = time.monotonic()
        try:
            memory = compile_step(model, options.task, options.preset, place).memory_analysis()
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
        except jax.errors.JaxRuntimeError as error:
            failed += 1
            print(f"{model:14}  failed: {str(error).splitlines()[0]}", flush=True)
            continue
        needed = 0 if memory is None else memory.temp_size_in_bytes / 2**20
        print(f"{model:14}  {time.monotonic() - begun:5.1f} s to compile, {needed:8.1f} MiB of temporaries", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
