"""The hand-over point between running and reporting: one JSON file per run. Never imports JAX."""

from ssm_bench.record.identity import config_hash
from ssm_bench.record.schema import NO_MEASURE, SCHEMA_VERSION, RunRecord, SpeedRecord, validate, validate_speed

__all__ = ["NO_MEASURE", "SCHEMA_VERSION", "RunRecord", "SpeedRecord", "config_hash", "validate", "validate_speed"]
