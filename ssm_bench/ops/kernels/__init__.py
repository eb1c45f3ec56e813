"""Kernels for NVIDIA GPUs behind the functions of `ssm_bench.ops`; a module is named after the operation it serves."""
