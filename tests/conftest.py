"""What every test stands on: one CPU, one thread each, no file of the user's, the same examples on every machine."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

# Set before anything imports JAX, and inherited by the processes that tests start. On a CPU each process has one
# thread: the tests run side by side, and sums come out the same on any number of cores.
os.environ.update(
    OMP_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
    MPLBACKEND="agg",
    # Compiled programs are kept in the checkout, never shared with another one; small ones too, which most are.
    JAX_COMPILATION_CACHE_DIR=str(ROOT / ".jax_cache"),
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
)
if platform := os.environ.get("SSM_BENCH_TEST_PLATFORM"):
    # `make test-gpu`. References are computed on the CPU.
    os.environ["JAX_PLATFORMS"] = f"{platform},cpu"
else:
    os.environ.update(
        JAX_PLATFORMS="cpu",
        NPROC="1",
        # Programs here run for milliseconds: compiling them fast counts, not how fast they are.
        JAX_DISABLE_MOST_OPTIMIZATIONS="1",
        # Fused loops by XLA's older and quicker emitter, in one piece: it saves two fifths of the time of all tests.
        XLA_FLAGS=(
            "--xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters --xla_cpu_parallel_codegen_split_count=1"
        ),
    )
# A width that no terminal changes.
os.environ["COLUMNS"] = "120"
# Many tests start processes, and compiling all modules each time would take most of their time.
for variable in ("JAX_ENABLE_X64", "NO_COLOR", "FORCE_COLOR", "PYTHONDONTWRITEBYTECODE"):
    os.environ.pop(variable, None)

# JAX keeps every traced program, and full collections of so many objects are slow.
gc.set_threshold(100_000, 50, 100)

settings.register_profile("ssm_bench", deadline=None, max_examples=25, print_blob=True)
settings.register_profile("ci", parent=settings.get_profile("ssm_bench"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "ssm_bench")


@pytest.fixture(scope="session", autouse=True)
def _no_data_of_the_user(tmp_path_factory):
    """Prepared data goes to a folder of this test run, and no file of the user's is found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSM_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("SSM_BENCH_RAW", str(tmp_path_factory.mktemp("raw")))
        yield


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """A cache of this test alone; the path of its folder."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("SSM_BENCH_CACHE", str(folder))
    return folder


@pytest.fixture
def x64():
    """Double precision in JAX, for this test alone."""
    import jax

    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def shared_programs():
    """Runs of equal settings share the programs that the first of them compiles."""
    from ssm_bench.training import run
    from tests.training.sharing import shared

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "make_program", shared(run.make_program))
        yield


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs a command in an empty folder: (exit code, standard output, standard error)."""
    from ssm_bench.cli import main

    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = main([*arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call
