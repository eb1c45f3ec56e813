"""Sequence mixers, one module each."""
