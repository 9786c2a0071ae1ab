"""Official files: those of the user, for tests that ask for them."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def real_data() -> Path:
    folder = os.environ.get("KOSMOS_EVAL_DATA")
    if folder is None:
        pytest.skip("needs official files under KOSMOS_EVAL_DATA")
    return Path(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker("realdata")
