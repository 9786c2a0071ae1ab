"""VizWiz: prompts, scores without answer ids, both official formats, and what can be wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Completion, Generate
from kosmos_eval.source import Source
from kosmos_eval.task import means
from kosmos_tasks.vizwiz import VizWiz

NO, NIGHT = {"answer": "no", "answer_confidence": "yes"}, {"answer": "night time", "answer_confidence": "maybe"}
NOTHING = {"answer": "unanswerable", "answer_confidence": "yes"}
ASKED = [("What is this?", [NO, *[NIGHT] * 6, *[NOTHING] * 3], "other"), ("And this?", [NOTHING] * 10, "unanswerable")]


def names(split: str) -> list[str]:
    return [f"VizWiz_{split}_0000000{place}.jpg" for place in range(len(ASKED))]


def challenge(root: Path, split: str = "val") -> Path:
    """The challenge's own format, with images."""
    folder = root / "vizwiz"
    (folder / split).mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names(split)):
        PIL.Image.new("RGB", (4, 4), (place, len(split), 0)).save(folder / split / name)
    entries: list[dict[str, Any]] = [
        {"image": name, "question": question, "answers": answers, "answer_type": kind, "answerable": 1}
        for name, (question, answers, kind) in zip(names(split), ASKED, strict=True)
    ]
    if split == "test":
        entries = [{"image": entry["image"], "question": entry["question"]} for entry in entries]
    (folder / f"{split}.json").write_text(json.dumps(entries))
    return root


def in_vqa_format(root: Path) -> Path:
    """The same in the format of VQA."""
    folder = challenge(root) / "vizwiz"
    (folder / "val.json").unlink()
    questions, annotations = [], []
    for place, (name, (question, answers, kind)) in enumerate(zip(names("val"), ASKED, strict=True), start=1):
        questions.append({"question_id": place, "image_id": name, "question": question})
        said = {"answers": answers, "question_type": kind, "multiple_choice_answer": answers[0]["answer"]}
        annotations.append({"question_id": place, "image_id": name, **said})
    (folder / "val_questions_vqa_format.json").write_text(json.dumps({"questions": questions}))
    (folder / "val_annotations_vqa_format.json").write_text(json.dumps({"annotations": annotations}))
    return root


def at(root: Path, split: str | None = None, **options: Any) -> VizWiz:
    return VizWiz(Source("data", root, split), **options)


def test_the_zero_shot_prompt_is_the_papers(tmp_path: Path) -> None:
    task = at(challenge(tmp_path))
    image = Image(tmp_path / "vizwiz" / "val" / "VizWiz_val_00000000.jpg")
    (request,) = task.requests(task.samples()[0], [])
    assert request == Generate(Prompt(image, "Question: What is this? Answer:"), max_tokens=10, stop=("\n",), beams=1)


def test_the_one_shot_prompt_shows_the_most_common_answer_above(tmp_path: Path) -> None:
    task = at(challenge(challenge(tmp_path), "train"))
    sample, shot = task.samples()[1], task.examples()[0]
    (request,) = task.requests(sample, [shot])
    (shown,), (asked,) = shot.prompt.images, sample.prompt.images
    assert request.prompt == Prompt(
        shown, "Question: What is this? Answer: night time\n", asked, "Question: And this? Answer:"
    )


def test_both_formats_hold_the_same(tmp_path: Path) -> None:
    own = list(at(challenge(tmp_path / "own")).samples())
    other = list(at(in_vqa_format(tmp_path / "other")).samples())
    for one, two in zip(own, other, strict=True):
        assert (one.references, one.target, one.kind) == (two.references, two.target, two.kind)
        assert (one.group, one.prompt.text()) == (two.group, two.prompt.text())
    assert own[0].target == "night time", "not the first answer"


def test_each_answer_is_left_out_by_its_place_and_unanswerable_counts_like_any_other(tmp_path: Path) -> None:
    task = at(challenge(tmp_path))
    first, second = task.samples()
    # Three of ten said it: left out one of them, two others agree (2/3); left out another, all three (1).
    score = task.score(first, [Completion(" unanswerable")])
    assert score.values["vqa_accuracy"] == pytest.approx((3 * 2 / 3 + 7 * 1) / 10)
    assert task.score(first, [Completion("night time")]).values == {"vqa_accuracy": 1.0}
    assert task.score(first, [Completion("no")]).values["vqa_accuracy"] == pytest.approx(0.9 / 3)
    found = means([first, second], [score, task.score(second, [Completion("unanswerable")])])
    assert found["vqa_accuracy[unanswerable]"].value == 1.0


def test_the_hidden_split_is_written_for_the_server(tmp_path: Path) -> None:
    task = at(challenge(challenge(tmp_path), "test"), "test")
    samples = task.samples()
    scores = [task.score(sample, [Completion("a cup")]) for sample in samples]
    assert [dict(score.values) for score in scores] == [{}, {}]
    file, content = task.submission(samples, scores) or ("", "")
    assert file == "vizwiz_test_kosmos-eval_results.json"
    assert json.loads(content)[0] == {"image": "VizWiz_test_00000000.jpg", "answer": "a cup"}
    assert at(tmp_path).submission(at(tmp_path).samples(), scores) is None
    assert [shot.id for shot in task.examples()] == ["VizWiz_val_00000000", "VizWiz_val_00000001"]


@pytest.mark.parametrize("key", ["question", "answers", "answer_type", "image"])
def test_a_malformed_row_is_named(tmp_path: Path, key: str) -> None:
    file = challenge(tmp_path) / "vizwiz" / "val.json"
    entries = json.loads(file.read_text())
    del entries[1][key]
    file.write_text(json.dumps(entries))
    with pytest.raises(BadData, match=rf"question 1 of .*val\.json has no '{key}', only"):
        at(tmp_path).samples()


def test_missing_images_and_annotations_are_named(tmp_path: Path) -> None:
    task = at(in_vqa_format(tmp_path))
    (tmp_path / "vizwiz" / "val_annotations_vqa_format.json").unlink()
    with pytest.raises(BadData, match=r"is there without its annotations; add .*val_annotations_vqa_format\.json"):
        task.samples()
    (challenge(tmp_path / "other") / "vizwiz" / "val" / names("val")[0]).unlink()
    with pytest.raises(BadData, match=r"names image VizWiz_val_00000000\.jpg, which is not in"):
        at(tmp_path / "other").samples()


def test_annotations_and_images_may_lie_in_folders_and_training_ones_count_with_their_images(tmp_path: Path) -> None:
    folder = challenge(challenge(tmp_path), "train") / "vizwiz"
    for outer, inner in (("Annotations", "val.json"), ("Annotations", "train.json"), ("images", "val")):
        (folder / outer).mkdir(exist_ok=True)
        (folder / inner).rename(folder / outer / inner)
    folder.rename(tmp_path / "VizWiz")
    (asked,) = at(tmp_path).samples()[0].prompt.images
    (shown,) = at(tmp_path).examples()[0].prompt.images
    assert Path(asked.name).parts[-3:-1] == ("images", "val")
    assert Path(shown.name).parts[-2] == "train"
    shutil.rmtree(tmp_path / "VizWiz" / "train")
    assert at(tmp_path).examples()[0].prompt.images == (asked,)


def test_one_generated_question_in_five_cannot_be_answered() -> None:
    task = VizWiz()
    asked, shown = task.samples(), task.examples()
    assert sum(sample.target == "unanswerable" for sample in asked) == len(asked) // 5
    assert {sample.id for sample in asked}.isdisjoint(shot.id for shot in shown)


def test_the_hub_is_read_in_its_own_columns(mirrored: Callable[..., Source]) -> None:
    image = {"bytes": Image.drawn(PIL.Image.new("RGB", (4, 4), "red")).encoded(), "path": None}
    row = {"question_id": "VizWiz_val_00000007", "image": image, "question": "What?", "answers": ["no"] * 10}
    task = VizWiz(mirrored("lmms-lab/VizWiz-VQA", {"val": [row | {"category": "other"}]}))
    (sample,) = task.samples()
    assert (sample.id, sample.group, sample.kind) == ("VizWiz_val_00000007", "VizWiz_val_00000007.jpg", "other")
    assert (sample.target, [shot.id for shot in task.examples()]) == ("no", [sample.id])


def test_real_questions_load_and_no_human_answer_beats_the_most_common_one(real_data: Path) -> None:
    task = at(real_data)
    samples = list(task.samples())
    assert (len(samples), sum(sample.kind == "unanswerable" for sample in samples)) == (28, 10)
    for sample in samples:
        said = {text: task.score(sample, [Completion(text)]).values["vqa_accuracy"] for text in sample.references}
        assert said[sample.target] == pytest.approx(max(said.values()))
    scores = [task.score(sample, [Completion(sample.target)]) for sample in samples]
    # Dropping equal answers together, for want of ids, would give 74.64.
    assert 100 * means(samples, scores)["vqa_accuracy"].value == pytest.approx(93.2143, abs=1e-4)
