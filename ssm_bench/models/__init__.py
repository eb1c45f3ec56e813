"""Sequence mixers, one module each; a new module here is a new model."""
