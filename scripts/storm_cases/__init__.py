"""The parts of `scripts/storm.py`: kills, corruptions, malformed inputs, full disks, readers during replacement."""

import os

# Set before NumPy and JAX are imported. One thread for each process: several share the cores, sums do not depend on the
# number of cores, and a process without other threads can fork.
os.environ.update(NPROC="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MPLBACKEND="agg", COLUMNS="120")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
