"""One model for each pair of mixer and scaffold; others of the same pair differ in their settings."""

from ssm_bench.config import experiment_names, get_config
from ssm_bench.data import spec

DISTINCT = list(
    {
        (c.model.mixer, c.model.scaffold): name for name in experiment_names() for c in [get_config(name, spec("text"))]
    }.values()
)
