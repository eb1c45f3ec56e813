"""Scaffolds: the residual blocks that a sequence mixer sits in, one module each."""
