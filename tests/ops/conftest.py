"""Shared by the tests of ops."""

import jax
import pytest


@pytest.fixture
def float64():
    """Double precision within one test."""
    with jax.enable_x64(True):
        yield
