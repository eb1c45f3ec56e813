"""Benchmarks: what is timed, and how. `ssm-bench bench` runs them; each result is a speed record."""
