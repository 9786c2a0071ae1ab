"""Rows of text benchmarks: files and splits, the hub, the generated items of every language task."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kosmos_eval.errors import BadData, UnknownName
from kosmos_eval.registry import named
from kosmos_eval.sample import Sample
from kosmos_eval.source import Source
from kosmos_tasks.copa import COPA
from kosmos_tasks.synthetic import everyday

LANGUAGE = ("hellaswag", "piqa", "winogrande", "winograd", "boolq", "cb", "copa", "storycloze")
ROW = {"premise": "It rained.", "choice1": "We ran.", "choice2": "We sang.", "question": "effect", "label": 0}


def written(folder: Path, name: str, *rows: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_of_several_files_the_largest_is_read_and_folders_may_lie_under_superglue(tmp_path: Path) -> None:
    written(tmp_path / "superglue" / "COPA", "val_head1.jsonl", ROW)
    written(tmp_path / "superglue" / "COPA", "val.jsonl", ROW, ROW)
    assert [sample.id for sample in COPA(Source("data", tmp_path)).samples()] == ["val/0", "val/1"]


def test_an_archive_may_unpack_in_a_folder_of_its_own_name_and_in_another_case(tmp_path: Path) -> None:
    written(tmp_path / "Copa" / "Copa", "val.jsonl", ROW)
    (tmp_path / "Copa" / "__MACOSX").mkdir()
    (tmp_path / "Copa" / "Copa" / "._val.jsonl").write_bytes(b"\0\5\x16\7" * 99)
    assert [sample.id for sample in COPA(Source("data", tmp_path)).samples()] == ["val/0"]


def test_demonstrations_come_from_the_evaluated_split_where_there_is_no_training_file(tmp_path: Path) -> None:
    task = COPA(Source("data", written(tmp_path, "val.jsonl", ROW)))
    assert [shot.id for shot in task.examples()] == ["val/0"]
    written(tmp_path, "train.jsonl", ROW)
    assert [shot.id for shot in task.examples()] == ["train/0"]


def test_a_split_that_is_not_there_is_refused(tmp_path: Path) -> None:
    written(tmp_path, "val.jsonl", ROW)
    with pytest.raises(UnknownName, match="no split of copa is called 'test'; there are: val"):
        COPA(Source("data", tmp_path, "test")).samples()
    (tmp_path / "val.jsonl").rename(tmp_path / "other.jsonl")
    with pytest.raises(BadData, match="copa: no split was found under"):
        COPA(Source("data", tmp_path)).samples()


def test_the_hub_is_read_with_its_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    from kosmos_tasks.families import splits

    asked: list[tuple[str, str | None, str]] = []

    def from_hub(name: str, *, source: Source, split: str, config: str | None, images: list[str]) -> datasets.Dataset:
        asked.append((name, config, split))
        return datasets.Dataset.from_list([ROW, ROW])

    monkeypatch.setattr(splits, "from_hub", from_hub)
    monkeypatch.setattr(splits, "_rows", splits._rows.__wrapped__)
    task = COPA(Source("hub"))
    assert [sample.id for sample in task.samples()] == ["validation/0", "validation/1"]
    assert [shot.id for shot in task.examples()] == ["train/0", "train/1"]
    assert asked == [("aps/super_glue", "copa", "validation"), ("aps/super_glue", "copa", "train")]


@pytest.mark.parametrize("name", LANGUAGE)
def test_generated_items_are_whole_balanced_and_not_shown_before(name: str) -> None:
    task = named("task", name)()
    asked, shown = list(task.samples()), list(task.examples())
    assert len(asked) == len(shown) == everyday.COUNT
    assert {sample.prompt for sample in asked}.isdisjoint(shot.prompt for shot in shown)
    assert len({sample.id for sample in [*asked, *shown]}) == 2 * everyday.COUNT
    labels = [label(sample) for sample in asked]
    for place in range(len(asked[0].choices)):
        assert 0.1 < labels.count(place) / len(labels) < 0.8, "an answer is favoured"


def label(sample: Sample) -> int:
    return sample.choices.index(sample.target) if sample.target in sample.choices else sample.extra["label"]


@pytest.mark.parametrize(
    "facts",
    [
        lambda rows: {row["activity_label"] for row in rows(everyday.hellaswag)},
        lambda rows: {row["goal"] for row in rows(everyday.piqa)},
        lambda rows: {(row["option1"], row["option2"]) for row in rows(everyday.winogrande)},
        lambda rows: {tuple(row["options"]) for row in rows(everyday.winograd)},
        lambda rows: {row["premise"] for row in rows(everyday.copa)},
        lambda rows: {row["input_sentence_1"].partition(" ")[2] for row in rows(everyday.storycloze)},
    ],
)
def test_no_fact_is_on_both_sides(facts: Callable[[Callable[[Any], Any]], set[object]]) -> None:
    test, train = (facts(lambda form, split=split: form(split)) for split in ("test", "train"))
    assert test.isdisjoint(train)
    assert len(test) > 1
