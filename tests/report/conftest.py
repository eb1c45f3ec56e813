"""Golden files, which `pytest --update-golden` rewrites instead of comparing with them, and a browser."""

from pathlib import Path

import pytest

from .browser import Browser, chromium

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden tables from what is made now")


@pytest.fixture
def golden(request):
    """Compares a text with the golden file of that name, byte for byte."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden", default=False):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(text.encode())
        assert path.read_bytes().decode() == text

    return compare


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """One browser for all tests; without a Chromium they are skipped."""
    path = chromium()
    if path is None:
        pytest.skip("no Chromium on this machine; set SSM_BENCH_CHROMIUM to the path of its executable")
    one = Browser(path, tmp_path_factory.mktemp("profile"))
    yield one
    one.close()
