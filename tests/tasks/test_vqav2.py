"""VQAv2: prompts, the official scores, official files and what can be wrong with them."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from kosmos_eval.errors import BadData, UnknownName
from kosmos_eval.metrics.vqa import percentage
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Completion, Generate
from kosmos_eval.source import Source
from kosmos_eval.task import means
from kosmos_tasks.vqav2 import VQAv2

QUESTIONS = [(11, 1, "What is it?"), (12, 1, "Is it red?"), (21, 2, "How many dogs?")]
HUMANS = {11: ["cat"] * 6 + ["kitten"] * 2 + ["dog"] * 2, 12: ["yes"] * 10, 21: ["2"] * 9 + ["two"]}
TYPES = {11: "other", 12: "yes/no", 21: "number"}


def official(root: Path, split: str = "val2014", *, images: str = "val2014", annotated: bool = True) -> Path:
    """Three questions about two images, as the challenge lays them out."""
    folder = root / "vqav2"
    (folder / images).mkdir(parents=True, exist_ok=True)
    for image in (1, 2):
        PIL.Image.new("RGB", (4, 4), (image, 0, 0)).save(folder / images / f"COCO_{images}_{image:012d}.jpg")
    questions = [{"question_id": number, "image_id": image, "question": text} for number, image, text in QUESTIONS]
    (folder / f"v2_OpenEnded_mscoco_{split}_questions.json").write_text(json.dumps({"questions": questions}))
    if annotated:
        said = [
            {
                "question_id": number,
                "image_id": image,
                "answer_type": TYPES[number],
                "multiple_choice_answer": HUMANS[number][0],
                "answers": [{"answer": answer, "answer_id": place} for place, answer in enumerate(HUMANS[number])],
            }
            for number, image, _ in reversed(QUESTIONS)
        ]
        (folder / f"v2_mscoco_{split}_annotations.json").write_text(json.dumps({"annotations": said}))
    return root


def at(root: Path, split: str | None = None) -> VQAv2:
    return VQAv2(Source("data", root, split))


def test_the_zero_shot_prompt_is_the_papers(tmp_path: Path) -> None:
    task = at(official(tmp_path))
    image = Image(tmp_path / "vqav2" / "val2014" / "COCO_val2014_000000000001.jpg")
    (request,) = task.requests(task.samples()[0], [])
    assert request == Generate(Prompt(image, "Question: What is it? Answer:"), max_tokens=10, stop=("\n",), beams=1)


def test_the_one_shot_prompt_shows_an_answered_question_above(tmp_path: Path) -> None:
    task = at(official(official(tmp_path), "train2014", images="train2014"), "val2014")
    sample, shot = task.samples()[0], task.examples()[2]
    (request,) = task.requests(sample, [shot])
    first, second = shot.prompt.images[0], sample.prompt.images[0]
    shown = "Question: How many dogs? Answer: 2\n"
    assert request.prompt == Prompt(first, shown, second, "Question: What is it? Answer:")


def test_synthetic_demonstrations_come_from_the_other_side() -> None:
    task = VQAv2()
    asked, shown = task.samples(), task.examples()
    assert {sample.group for sample in asked}.isdisjoint(shot.group for shot in shown)
    assert all(len(sample.references) == 10 for sample in asked)


def test_questions_join_their_annotations_whatever_the_order(tmp_path: Path) -> None:
    first, second, third = at(official(tmp_path)).samples()
    assert (first.id, first.group, first.kind, first.target) == ("11", "1", "other", "cat")
    assert first.references == tuple(HUMANS[11])
    assert first.group == second.group != third.group
    assert Path(third.prompt.images[0].name).name == "COCO_val2014_000000000002.jpg"


def test_marks_are_the_official_ones(tmp_path: Path) -> None:
    task = at(official(tmp_path))
    cat, red, dogs = task.samples()
    # Two of ten said kitten: leaving out one of them, 1/3, leaving out another, 2/3.
    kitten = task.score(cat, [Completion(" kitten")])
    assert kitten.values["vqa_accuracy"] == pytest.approx((2 * 1 / 3 + 8 * 2 / 3) / 10)
    assert kitten.answer == "kitten"
    assert task.score_answer(cat, "A cat.").values == {"vqa_accuracy": 1.0}
    assert task.score_answer(red, "Yes.").values == {"vqa_accuracy": 0.0}, "nothing is normalised where all agree"
    assert task.score_answer(dogs, "two").values == {"vqa_accuracy": 1.0}


def test_the_lenient_figure_has_another_name(tmp_path: Path) -> None:
    official(tmp_path)
    red = at(tmp_path).samples()[1]
    task = VQAv2(Source("data", tmp_path), lenient=True)
    assert task.score_answer(red, "Yes.").values == {"vqa_accuracy": 0.0, "vqa_accuracy_lenient": 1.0}


def test_figures_are_given_per_answer_type_and_clustered_by_image(tmp_path: Path) -> None:
    task = at(official(tmp_path))
    samples = task.samples()
    metrics = means(samples, [task.score_answer(sample, "cat") for sample in samples])
    assert list(metrics) == [
        "vqa_accuracy",
        "vqa_accuracy[number]",
        "vqa_accuracy[other]",
        "vqa_accuracy[yes/no]",
    ]
    assert metrics["vqa_accuracy"].value == pytest.approx(1 / 3)
    assert metrics["vqa_accuracy"].chance is None
    assert metrics["vqa_accuracy[other]"].value == 1


def test_splits_are_chosen_in_order_and_unknown_ones_listed(tmp_path: Path) -> None:
    root = official(official(tmp_path, "train2014", images="train2014"))
    assert at(root).split == "val2014"
    assert at(root, "train2014").split == "train2014"
    with pytest.raises(UnknownName, match="split of vqav2 is called 'val'; did you mean 'val2014'"):
        at(root, "val").samples()


def test_a_single_split_shows_its_own_questions(tmp_path: Path) -> None:
    task = at(official(tmp_path))
    assert [shot.id for shot in task.examples()] == [sample.id for sample in task.samples()]


def test_a_split_without_public_answers_is_submitted_not_marked(tmp_path: Path) -> None:
    root = official(tmp_path, "test-dev2015", images="test2015", annotated=False)
    task = at(root)
    samples = task.samples()
    scores = [task.score(sample, [Completion(" two dogs\n")]) for sample in samples]
    assert means(samples, scores) == {}
    name, content = task.submission(samples, scores) or ("", "")
    assert name == "v2_OpenEnded_mscoco_test-dev2015_kosmos-eval_results.json"
    assert json.loads(content)[0] == {"question_id": 11, "answer": "two dogs"}
    assert task.examples() == [], "nothing with an answer could be shown"
    assert [shot.target for shot in at(official(root), "test-dev2015").examples()] == ["cat", "yes", "2"]


def test_a_marked_split_has_no_submission(tmp_path: Path) -> None:
    task = at(official(tmp_path))
    assert task.submission(task.samples(), [task.score_answer(sample, "x") for sample in task.samples()]) is None


def test_results_json_is_read_by_question(tmp_path: Path) -> None:
    task = at(official(tmp_path))
    file = tmp_path / "results.json"
    file.write_text(json.dumps([{"question_id": 21, "answer": "2"}, {"question_id": 11, "answer": "cat"}]))
    assert task.read_answers(file) == {"21": "2", "11": "cat"}
    assert task.official() == task


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"question_id": 11, "answer": "a"}, {"question_id": 11, "answer": "b"}], "11 of .* stands twice"),
        ([{"question_id": 99, "answer": "a"}], "99 of .* is not in val2014"),
        ([{"question_id": 11}], "entry 0 of .* is not {"),
        ({"11": "cat"}, "is no file with a list of answers"),
        (None, "is no file with a list of answers"),
        ([], "is no file with a list of answers, or an empty one"),
        ([7], "entry 0 of .* is not {"),
        ([{"question_id": 11, "answer": None}], "entry 0 of .* answers None; expected a text"),
        ([{"question_id": 11, "answer": float("nan")}], "entry 0 of .* answers nan"),
        ([{"question_id": 11, "answer": True}], "entry 0 of .* answers True"),
    ],
)
def test_results_json_that_does_not_fit_is_refused(tmp_path: Path, entries: Any, message: str) -> None:
    task = at(official(tmp_path))
    file = tmp_path / "results.json"
    file.write_text(json.dumps(entries))
    with pytest.raises(BadData, match=message):
        task.read_answers(file)


def test_a_question_file_without_its_annotations_says_which_to_add(tmp_path: Path) -> None:
    task = at(official(tmp_path, annotated=False))
    with pytest.raises(BadData, match=r"is there without its annotations; add .*v2_mscoco_val2014_annotations\.json"):
        task.samples()


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    root = official(tmp_path)
    (root / "vqav2" / "val2014" / "COCO_val2014_000000000002.jpg").unlink()
    with pytest.raises(BadData, match=r"names image COCO_val2014_000000000002\.jpg, which is not in"):
        at(root).samples()


def test_images_may_lie_with_those_of_coco(tmp_path: Path) -> None:
    root = official(tmp_path)
    (root / "coco").mkdir()
    (root / "vqav2" / "val2014").rename(root / "coco" / "val2014")
    assert at(root).samples()[0].prompt.images[0].name.startswith(str(root / "coco"))


def test_files_may_lie_as_the_official_program_wants_them(tmp_path: Path) -> None:
    folder = official(tmp_path) / "vqav2"
    for outer, pattern in (("Questions", "*questions.json"), ("Annotations", "*annotations.json")):
        (folder / outer).mkdir()
        (file,) = folder.glob(pattern)
        file.rename(folder / outer / file.name)
    (folder / "Images" / "mscoco").mkdir(parents=True)
    (folder / "val2014").rename(folder / "Images" / "mscoco" / "val2014")
    folder.rename(tmp_path / "VQA")
    (image,) = at(tmp_path).samples()[0].prompt.images
    assert image.name.endswith("VQA/Images/mscoco/val2014/COCO_val2014_000000000001.jpg")


def test_images_may_be_those_of_coco_2017(tmp_path: Path) -> None:
    shutil.rmtree(official(tmp_path) / "vqav2" / "val2014")
    for year, number in (("train2017", 1), ("val2017", 2)):
        (tmp_path / "coco" / year).mkdir(parents=True)
        PIL.Image.new("RGB", (4, 4)).save(tmp_path / "coco" / year / f"{number:012d}.jpg")
    first, *_, last = at(tmp_path).samples()
    assert Path(first.prompt.images[0].name).parts[-2:] == ("train2017", "000000000001.jpg")
    assert Path(last.prompt.images[0].name).parts[-2:] == ("val2017", "000000000002.jpg")


def test_a_training_split_without_its_images_is_not_shown(tmp_path: Path) -> None:
    official(official(tmp_path), "train2014", images="train2014")
    assert at(tmp_path).examples()[0].prompt.images[0].name.endswith("COCO_train2014_000000000001.jpg")
    shutil.rmtree(tmp_path / "vqav2" / "train2014")
    assert at(tmp_path).examples()[0].prompt.images[0].name.endswith("COCO_val2014_000000000001.jpg")


def test_a_question_without_annotation_or_text_is_named(tmp_path: Path) -> None:
    file = official(tmp_path) / "vqav2" / "v2_OpenEnded_mscoco_val2014_questions.json"
    file.write_text(json.dumps({"questions": [{"question_id": 11, "image_id": 1}]}))
    with pytest.raises(BadData, match=r"question 0 of .* has no 'question', only"):
        at(tmp_path).samples()
    file.write_text(json.dumps({"questions": [{"question_id": 77, "image_id": 1, "question": "?"}]}))
    with pytest.raises(BadData, match=r"question 0 of .*, 77, has no annotation"):
        at(tmp_path).samples()


def test_a_json_cut_in_the_middle_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    file = official(tmp_path / "cut") / "vqav2" / "v2_mscoco_val2014_annotations.json"
    file.write_text(file.read_text()[:200])
    with pytest.raises(BadData, match="is not complete json"):
        at(tmp_path / "cut").samples()
    (tmp_path / "empty" / "vqav2").mkdir(parents=True)
    with pytest.raises(BadData, match="is an empty folder"):
        at(tmp_path / "empty").samples()


def test_the_hub_is_read_in_its_own_columns(tmp_path: Path, mirrored: Callable[..., Source]) -> None:
    image = tmp_path / "it.png"
    PIL.Image.new("RGB", (3, 3), "red").save(image)
    human = [{"answer": text, "answer_confidence": "yes", "answer_id": 1} for text in HUMANS[11]]
    splits = {
        split: [
            {
                "question_type": "what is",
                "multiple_choice_answer": "cat" if answers else None,
                "answers": answers,
                "image_id": 1,
                "answer_type": "other" if answers else None,
                "question_id": 11,
                "question": "What is it?",
                "image": {"bytes": image.read_bytes(), "path": None},
            }
        ]
        for split, answers in {"validation": human, "testdev": None}.items()
    }
    source = mirrored("lmms-lab/VQAv2", splits)
    task = VQAv2(source)
    (sample,) = task.samples()
    assert (sample.target, sample.kind, sample.references) == ("cat", "other", tuple(HUMANS[11]))
    assert sample.prompt.images[0].pixels().getpixel((0, 0)) == (255, 0, 0)
    dev = VQAv2(replace(source, split="testdev"))
    assert dev.samples()[0].references == ()
    assert dev.examples()[0].target == "cat"


def test_real_answer_files_get_the_official_tools_figures(real_data: Path) -> None:
    task = at(real_data, "train2014")
    samples = {sample.id: sample for sample in task.samples()}
    assert len(samples) == 88
    reference = json.loads((real_data / "reference_scores.json").read_text())["vqav2/results"]
    for file in sorted((real_data / "vqav2" / "results").glob("*.json")):
        expected = reference[file.stem.removeprefix("v2_OpenEnded_mscoco_train2014_").removesuffix("_results")]
        marks = {
            number: task.score_answer(samples[number], answer).values["vqa_accuracy"]
            for number, answer in task.read_answers(file).items()
        }
        assert percentage(list(marks.values())) == expected["overall"]
        for kind, figure in expected["perAnswerType"].items():
            assert percentage([mark for number, mark in marks.items() if samples[number].kind == kind]) == figure
        for number, figure in expected.get("per_question", {}).items():
            assert percentage([marks[number]]) == figure
    for sample in samples.values():
        assert sample.prompt.images[0].pixels(draft=32).mode == "RGB"
