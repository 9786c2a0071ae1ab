"""Official files of the user, and data sets in a mirror of the hub."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kosmos_eval.source import Source


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


@pytest.fixture
def mirrored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Source]:
    """Writes a data set, split to rows, into a mirror; columns of images are named, other features by their column."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    cards: dict[str, str] = {}

    def write(
        name: str, splits: Mapping[str, list[dict[str, Any]]], config: str = "default", **features: Any
    ) -> Source:
        folder = tmp_path / "hub" / name
        (folder / config).mkdir(parents=True)
        cards[name] = cards.get(name, "configs:\n") + f"- config_name: {config}\n  data_files:\n"
        for split, rows in splits.items():
            data = datasets.Dataset.from_list(rows)
            for column, feature in ({"image": datasets.Image()} | features).items():
                data = data.cast_column(column, feature) if column in data.column_names else data
            data.to_parquet(folder / config / f"{split}-00000-of-00001.parquet")
            cards[name] += f"  - split: {split}\n    path: {config}/{split}-*\n"
        (folder / "README.md").write_text(f"---\n{cards[name]}---\n")
        return Source("hub", tmp_path / "hub")

    return write
