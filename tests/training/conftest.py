"""Without the train extra there is nothing to test in this room."""

from importlib.util import find_spec

HAS_TORCH = find_spec("torch") is not None
collect_ignore_glob = [] if HAS_TORCH else ["test_*.py"]


def pytest_report_header() -> str | None:
    """The reason, where every run shows it."""
    return None if HAS_TORCH else "tests/training is left out: the train extra is not installed"
