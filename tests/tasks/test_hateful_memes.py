"""Hateful Memes: prompts, the area under the ROC curve, official files and what can be wrong with them."""

import json
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.source import Source
from kosmos_tasks.hateful_memes import HatefulMemes

QUESTION = "Question: does this picture contain real hate speech? Answer:"
MEMES = [
    {"id": 8291, "img": "img/08291.png", "label": 1, "text": "white people"},
    {"id": 46971, "img": "img/46971.png", "label": 0, "text": "a nice day"},
    {"id": 3745, "img": "img/03745.png", "label": 1, "text": "look"},
]


def at(root: Path, *memes: dict[str, Any], name: str = "dev_seen.jsonl", split: str | None = None) -> HatefulMemes:
    folder = root / "hateful_memes"
    (folder / "img").mkdir(parents=True, exist_ok=True)
    for meme in MEMES:
        PIL.Image.new("RGB", (4, 4), (meme["label"], len(meme["text"]), 0)).save(folder / meme["img"])
    (folder / name).write_text("\n".join(json.dumps(meme) for meme in memes or MEMES))
    return HatefulMemes(Source("data", root, split))


def test_the_zero_shot_prompt_is_the_papers_without_the_memes_text(tmp_path: Path) -> None:
    task = at(tmp_path)
    image = Image(tmp_path / "hateful_memes" / "img" / "08291.png")
    assert task.requests(task.samples()[0], []) == [LogLikelihood(Prompt(image, QUESTION), (" no", " yes"))]


def test_the_one_shot_prompt_shows_an_answered_training_meme_above(tmp_path: Path) -> None:
    at(tmp_path, MEMES[1], name="train.jsonl")
    task = at(tmp_path, MEMES[0])
    (sample,), (shot,) = task.samples(), task.examples()
    (request,) = task.requests(sample, [shot])
    (shown,), (asked,) = shot.prompt.images, sample.prompt.images
    assert request.prompt == Prompt(shown, f"{QUESTION} no\n", asked, QUESTION)


def test_the_area_ranks_by_yes_against_no(tmp_path: Path) -> None:
    task = at(tmp_path)
    # Yes against no: +1, 0, -2. The hateful ones are the first and the last: one of two pairs is in order.
    pairs = [(-2.0, -1.0), (-3.0, -3.0), (-1.0, -3.0)]
    samples = task.samples()
    scores = [
        task.score(s, [Likelihoods(pair, (1, 1), (False, False))]) for s, pair in zip(samples, pairs, strict=True)
    ]
    assert [(score.answer, score.values["accuracy"]) for score in scores] == [
        ("yes", 1.0),
        ("no=yes", 0.5),
        ("no", 0.0),
    ]
    found = task.aggregate([sample.outline for sample in samples], scores, seed=0)
    assert list(found) == ["roc_auc", "accuracy"]
    assert (found["roc_auc"].value, found["roc_auc"].chance, found["accuracy"].value) == (0.5, 0.5, 0.5)
    assert task.aggregate([], [], seed=0) == {}


def test_the_validation_set_comes_first_and_training_memes_are_shown(tmp_path: Path) -> None:
    at(tmp_path, name="test_seen.jsonl")
    at(tmp_path, name="train.jsonl")
    assert at(tmp_path, name="dev.jsonl").split == "dev"
    assert at(tmp_path).split == "dev_seen"
    assert [shot.id for shot in at(tmp_path).examples()] == ["8291", "46971", "3745"]


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ({"label": 2}, r"line 4 of .*dev_seen\.jsonl has 'label' '2'; expected one of 0, 1"),
        ({"img": "img/none.png"}, r"dev_seen\.jsonl names image none\.png, which is not in "),
        ({}, r"id 8291 stands twice in .*dev_seen\.jsonl"),
    ],
)
def test_a_malformed_row_is_named(tmp_path: Path, broken: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadData, match=problem):
        at(tmp_path, *MEMES, MEMES[0] | {"id": 8291 if not broken else 1} | broken).samples()


def test_a_file_without_labels_is_refused(tmp_path: Path) -> None:
    bare = {name: MEMES[0][name] for name in ("id", "img", "text")}
    with pytest.raises(BadData, match=r"line 1 of .* has no 'label', only id, img, text"):
        at(tmp_path, bare).samples()


def test_a_test_file_whose_labels_are_secret_says_so_and_is_the_last_choice(tmp_path: Path) -> None:
    bare = {name: MEMES[0][name] for name in ("id", "img", "text")}
    for split in ("test", "test_seen"):
        with pytest.raises(BadData, match=rf"{split}\.jsonl has no labels, .*another split, such as --split dev_seen"):
            at(tmp_path, bare, name=f"{split}.jsonl", split=split).samples()
    assert at(tmp_path, name="dev.jsonl").split == "dev"
    assert len(at(tmp_path, name="test.jsonl", split="test").samples()) == 3


def test_the_archive_of_kaggle_has_a_folder_of_its_own(tmp_path: Path) -> None:
    at(tmp_path, name="dev.jsonl")
    (tmp_path / "hateful_memes").rename(tmp_path / "data")
    (tmp_path / "Hateful_Memes").mkdir()
    (tmp_path / "data").rename(tmp_path / "Hateful_Memes" / "data")
    task = HatefulMemes(Source("data", tmp_path))
    assert [sample.id for sample in task.samples()] == ["8291", "46971", "3745"]


def test_generated_memes_of_train_and_test_differ() -> None:
    task = HatefulMemes()
    asked, shown = task.samples(), task.examples()
    assert {sample.id for sample in asked}.isdisjoint(shot.id for shot in shown)
    assert 0.3 < sum(sample.target == "yes" for sample in asked) / len(asked) < 0.7
