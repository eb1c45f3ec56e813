"""ssm_bench: the reference benchmark suite for long-sequence models in JAX and Flax."""

__version__ = "0.1.0"
