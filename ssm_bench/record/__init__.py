"""Records, the interface between training and reports: one JSON file per run. Never imports JAX."""

from ssm_bench.record.identity import completed, config_hash, differences, run_name
from ssm_bench.record.schema import (
    SCHEMA_VERSION,
    SPEED_VERSION,
    Measurement,
    RunRecord,
    SpeedRecord,
    validate,
    validate_speed,
)

__all__ = [
    "SCHEMA_VERSION",
    "SPEED_VERSION",
    "Measurement",
    "RunRecord",
    "SpeedRecord",
    "completed",
    "config_hash",
    "differences",
    "run_name",
    "validate",
    "validate_speed",
]
