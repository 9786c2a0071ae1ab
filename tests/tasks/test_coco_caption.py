"""COCO captions: prompts, corpus scores, official files and what can be wrong with them."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from kosmos_eval.errors import BadData, UnknownName
from kosmos_eval.metrics import caption
from kosmos_eval.metrics.caption import CaptionScores
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Completion, Generate
from kosmos_eval.source import Source
from kosmos_tasks.coco_caption import CocoCaption

CAPTIONS = {
    1: ["Two dogs sleep under a table.", "dogs asleep below some furniture"],
    2: ["a red bus waits beside the church"],
    3: ["seven kites over an empty beach"],
}


def pictures(folder: Path, names: dict[int, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in names.items():
        PIL.Image.new("RGB", (4, 4), (number, 0, 0)).save(folder / name)


def yearly(root: Path, split: str = "val2017", *, images: str = "", captions: Any = None) -> Path:
    """An official release of three images; returns the root."""
    names = {number: f"{number:012d}.jpg" for number in CAPTIONS}
    pictures(root / "coco" / images / split, names)
    said = [(number, text) for number, texts in CAPTIONS.items() for text in texts]
    content = {
        "images": [{"id": number, "file_name": name} for number, name in names.items()],
        "annotations": captions
        or [{"id": place, "image_id": number, "caption": text} for place, (number, text) in enumerate(said)],
    }
    file = root / "coco" / "annotations" / f"captions_{split}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))
    return root


def karpathy(root: Path) -> Path:
    """Karpathy's file: one image each of test, val and restval, with the images of 2014, one of them of no split."""
    names = {number: f"COCO_val2014_{number:012d}.jpg" for number in CAPTIONS}
    pictures(root / "coco" / "val2014", names)
    pictures(root / "coco" / "train2014", {4: "COCO_train2014_000000000004.jpg"})
    images = [
        {
            "cocoid": number,
            "split": split,
            "filepath": "val2014",
            "filename": names[number],
            "sentences": [{"raw": text, "tokens": text.split()} for text in CAPTIONS[number]],
        }
        for number, split in zip(CAPTIONS, ("test", "val", "restval"), strict=True)
    ]
    (root / "coco" / "dataset_coco.json").write_text(json.dumps({"images": images}))
    return root


def at(root: Path, split: str | None = None, **options: Any) -> CocoCaption:
    return CocoCaption(Source("data", root, split), spice=False, **options)


def test_the_zero_shot_prompt_is_the_papers(tmp_path: Path) -> None:
    task = at(yearly(tmp_path))
    image = Image(tmp_path / "coco" / "val2017" / "000000000001.jpg")
    (request,) = task.requests(task.samples()[0], [])
    assert request == Generate(Prompt(image, "An image of"), max_tokens=32, stop=("\n",), beams=5, length_penalty=1.0)


def test_the_one_shot_prompt_shows_a_human_caption_above(tmp_path: Path) -> None:
    task = at(yearly(yearly(tmp_path), "train2017"))
    sample, shot = task.samples()[1], task.examples()[0]
    (request,) = task.requests(sample, [shot])
    (shown,), (asked,) = shot.prompt.images, sample.prompt.images
    assert "train2017" in shown.name
    assert request.prompt == Prompt(shown, "An image of Two dogs sleep under a table.\n", asked, "An image of")


def test_a_random_human_caption_is_always_the_same_one(tmp_path: Path) -> None:
    yearly(tmp_path)
    first = [sample.target for sample in at(tmp_path, shown="random").samples()]
    assert first == [sample.target for sample in at(tmp_path, shown="random").samples()]
    assert all(target in sample.references for target, sample in zip(first, at(tmp_path).samples(), strict=True))


def test_synthetic_has_five_references_and_demonstrations_of_its_own() -> None:
    task = CocoCaption()
    asked, shown = task.samples(), task.examples()
    assert all(len(sample.references) == 5 for sample in asked)
    assert {sample.id for sample in asked}.isdisjoint(shot.id for shot in shown)
    assert asked[0].prompt.text() == "<image>An image of"


def test_a_caption_is_what_follows_the_prompt(tmp_path: Path) -> None:
    task = at(yearly(tmp_path))
    score = task.score(task.samples()[0], [Completion(" two dogs\u2028under a table ")])
    assert (score.answer, score.record, score.values) == (
        "two dogs\u2028under a table",
        {"caption": "two dogs\u2028under a table"},
        {},
    )


def test_a_part_of_the_split_is_scored_on_the_scale_of_the_whole(tmp_path: Path) -> None:
    task = at(yearly(tmp_path))
    bus = task.samples()[1:2]
    scores = [task.score_answer(bus[0], "A red bus waits beside the church.")]
    metrics = task.aggregate(bus, scores, seed=0)
    assert list(metrics) == ["CIDEr", "Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "METEOR", "ROUGE_L"]
    # The one reference word for word: cosine 1 for n-grams of every length, times 10.
    assert metrics["CIDEr"].value == pytest.approx(10)
    assert metrics["Bleu_4"].value == pytest.approx(1)
    assert task.sample_metrics(bus, scores)["2"]["CIDEr"] == pytest.approx(10)


def test_no_scores_have_no_metrics(tmp_path: Path) -> None:
    task = at(yearly(tmp_path))
    assert task.aggregate([], [], seed=0) == {}
    assert task.sample_metrics([], []) == {}


def test_the_official_rule_counts_the_documents_of_the_answered_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []

    def stand_in(candidates: Any, references: Any, *, frequencies_from: Any, spice: bool) -> CaptionScores:
        counted.append(list(frequencies_from))
        return CaptionScores(tuple(candidates), {"CIDEr": 1.0}, {"CIDEr": (1.0,)}, ((0,) * 10,), ((0,) * 23,), {})

    monkeypatch.setattr(caption, "caption_scores", stand_in)
    task = at(yearly(tmp_path), max_tokens=7)
    bus = task.samples()[1:2]
    scores = [task.score_answer(bus[0], "a bus")]
    task.sample_metrics(bus, scores)
    task.official().sample_metrics(bus, scores)
    assert counted == [["1", "2", "3"], []]
    assert task.official() == replace(task, document_frequencies="answered")


def test_a_metric_that_cannot_run_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stand_in(candidates: Any, *others: Any, spice: bool, **named: Any) -> CaptionScores:
        assert spice
        missing = {"SPICE": "SPICE is left out: no parser"}
        return CaptionScores(tuple(candidates), {"CIDEr": 1.0}, {"CIDEr": (1.0,)}, ((0,) * 10,), ((0,) * 23,), missing)

    monkeypatch.setattr(caption, "caption_scores", stand_in)
    task = CocoCaption(Source("data", yearly(tmp_path)))
    for text in ("a bus", "a red bus"):
        task.sample_metrics(task.samples()[1:2], [task.score_answer(task.samples()[1], text)])
    assert caplog.messages == ["SPICE is left out: no parser"]


def test_the_corpus_is_scored_once_for_its_figures_and_those_of_its_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []

    def stand_in(candidates: Any, references: Any, **others: Any) -> CaptionScores:
        runs.append(candidates)
        return CaptionScores(tuple(candidates), {"CIDEr": 1.0}, {"CIDEr": (1.0,)}, ((0,) * 10,), ((0,) * 23,), {})

    monkeypatch.setattr(caption, "caption_scores", stand_in)
    monkeypatch.setattr(caption, "metrics", lambda scores, seed: {"CIDEr": scores})
    task = at(yearly(tmp_path))
    bus = task.samples()[1:2]
    task.aggregate(bus, [task.score_answer(bus[0], "a lone bus")], seed=0)
    task.sample_metrics(bus, [task.score_answer(bus[0], "a lone bus")])
    assert runs == [{"2": "a lone bus"}]


def test_the_papers_split_comes_first_where_it_is_there(tmp_path: Path) -> None:
    assert at(yearly(tmp_path)).split == "val2017"
    task = at(karpathy(tmp_path))
    assert task.split == "test"
    assert [sample.id for sample in task.samples()] == ["1"]
    assert [shot.id for shot in task.examples()] == ["3"], "restval is used for training"
    assert [sample.id for sample in at(tmp_path, "val").samples()] == ["2"]
    assert task.samples()[0].references == tuple(CAPTIONS[1])


def test_a_release_without_training_images_shows_its_own(tmp_path: Path) -> None:
    task = at(yearly(tmp_path))
    assert [shot.id for shot in task.examples()] == [sample.id for sample in task.samples()] == ["1", "2", "3"]


def test_images_may_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    task = at(yearly(tmp_path, images="images"))
    assert task.samples()[0].prompt.images[0].name == str(tmp_path / "coco/images/val2017/000000000001.jpg")


def test_training_annotations_whose_images_are_not_there_are_not_shown(tmp_path: Path) -> None:
    shutil.rmtree(yearly(yearly(tmp_path), "train2017") / "coco" / "train2017")
    assert [shot.id for shot in at(tmp_path).examples()] == ["1", "2", "3"]
    shutil.rmtree(karpathy(tmp_path) / "coco" / "train2014")
    assert [shot.id for shot in at(tmp_path, "test").examples()] == ["1"]


def test_of_several_releases_the_one_with_images_is_chosen(tmp_path: Path) -> None:
    yearly(yearly(tmp_path), "val2014")
    assert at(tmp_path).split == "val2017"
    shutil.rmtree(tmp_path / "coco" / "val2017")
    assert at(tmp_path).split == "val2014"


def test_karpathys_images_may_be_those_of_2017(tmp_path: Path) -> None:
    folder = karpathy(tmp_path) / "coco"
    for year, numbers in (("train2017", (1, 3, 4)), ("val2017", (2,))):
        pictures(folder / year, {number: f"{number:012d}.jpg" for number in numbers})
    for year in ("train2014", "val2014"):
        shutil.rmtree(folder / year)
    (sample,), (shot,) = at(tmp_path).samples(), at(tmp_path).examples()
    shown = [Path(each.prompt.images[0].name).relative_to(folder).as_posix() for each in (sample, shot)]
    assert shown == ["train2017/000000000001.jpg", "train2017/000000000003.jpg"]


def test_archives_may_unpack_in_folders_of_their_own_name(tmp_path: Path) -> None:
    folder = yearly(tmp_path) / "coco"
    for name, inner in (("annotations", "annotations_trainval2017"), ("val2017", "val2017")):
        (folder / name).rename(folder / "moved")
        (folder / inner).mkdir()
        (folder / "moved").rename(folder / inner / name)
    folder.rename(tmp_path / "COCO")
    (image,) = at(tmp_path).samples()[0].prompt.images
    assert image.name.endswith("COCO/val2017/val2017/000000000001.jpg")


def test_an_archive_that_is_not_unpacked_is_named(tmp_path: Path) -> None:
    folder = yearly(tmp_path) / "coco"
    shutil.rmtree(folder / "val2017")
    (folder / "val2017.zip").touch()
    with pytest.raises(
        BadData, match=r"which is not in .*val2017 \(and 2 more\) \(is val2017\.zip unpacked\?\); add it"
    ):
        at(tmp_path).samples()
    shutil.rmtree(folder / "annotations")
    (folder / "annotations_trainval2017.zip").touch()
    names = r"annotations_trainval2017\.zip, val2017\.zip"
    with pytest.raises(BadData, match=rf"no split was found under .*coco \(are {names} unpacked\?\)"):
        at(tmp_path).samples()


def test_an_unknown_split_lists_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="no split of coco_caption is called 'dev'; there are: val2017"):
        at(yearly(tmp_path), "dev").samples()


def annotations(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    file = root / "coco" / "annotations" / "captions_val2017.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["annotations"][0].pop("caption"), r"annotation 0 of .* has no 'caption'"),
        (
            lambda content: content["annotations"][0].update(image_id=9),
            r"annotation 0 of .* is of image 9, which is not",
        ),
        (lambda content: content.update(annotations=[]), r"image 1 of .* has no caption"),
        (lambda content: content["images"].append(content["images"][0]), r"image 1 stands twice in"),
        (lambda content: content.pop("images"), r"has no 'images' at its top level"),
        (lambda content: content.update(images=[], annotations=[]), r"has no image of split 'val2017'"),
    ],
)
def test_annotations_that_contradict_themselves_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    annotations(yearly(tmp_path), change)
    with pytest.raises(BadData, match=message) as caught:
        at(tmp_path).samples()
    assert "\n" not in str(caught.value)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    (yearly(tmp_path) / "coco" / "val2017" / "000000000002.jpg").unlink()
    with pytest.raises(BadData, match=r"names image 000000000002\.jpg, which is not in .*val2017"):
        at(tmp_path).samples()


def test_a_json_cut_in_the_middle_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    file = yearly(tmp_path / "cut") / "coco" / "annotations" / "captions_val2017.json"
    file.write_text(file.read_text()[:99])
    with pytest.raises(BadData, match="is not complete json"):
        at(tmp_path / "cut").samples()
    (tmp_path / "empty" / "coco").mkdir(parents=True)
    with pytest.raises(BadData, match="is an empty folder"):
        at(tmp_path / "empty").samples()
    (tmp_path / "empty" / "coco" / "readme").touch()
    with pytest.raises(BadData, match="coco_caption: no split was found under"):
        at(tmp_path / "empty").samples()


def test_results_json_is_read_by_image(tmp_path: Path) -> None:
    task = at(yearly(tmp_path))
    file = tmp_path / "results.json"
    file.write_text(json.dumps([{"image_id": 3, "caption": "kites"}, {"image_id": 1, "caption": "dogs"}]))
    assert task.read_answers(file) == {"3": "kites", "1": "dogs"}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"image_id": 1, "caption": "a"}, {"image_id": 1, "caption": "b"}], r"image_id 1 of .* stands twice"),
        ([{"image_id": 8, "caption": "a"}], r"image_id 8 of .* is not in val2017"),
        ([{"image_id": 1}], r"entry 0 of .* is not {"),
        ({"1": "a"}, r"is no file with a list of answers"),
    ],
)
def test_results_json_that_does_not_fit_is_refused(tmp_path: Path, entries: Any, message: str) -> None:
    task = at(yearly(tmp_path))
    file = tmp_path / "results.json"
    file.write_text(json.dumps(entries))
    with pytest.raises(BadData, match=message):
        task.read_answers(file)


def test_the_hub_is_read_in_its_own_columns(tmp_path: Path, mirrored: Callable[..., Source]) -> None:
    pictures(tmp_path, {1: "1.png"})
    row = {
        "question_id": "000000000139.jpg",
        "image": {"bytes": (tmp_path / "1.png").read_bytes(), "path": None},
        "question": "Please describe the picture",
        "answer": CAPTIONS[1],
        "id": 77,
        "file_name": "000000000139.jpg",
    }
    task = CocoCaption(mirrored("lmms-lab/COCO-Caption2017", {"val": [row]}))
    (sample,) = task.samples()
    assert (sample.id, sample.references) == ("139", tuple(CAPTIONS[1]))
    assert sample.prompt.images[0].pixels().size == (4, 4)
    assert [shot.id for shot in task.examples()] == ["139"]


def test_real_captions_get_the_official_tools_figures(real_data: Path) -> None:
    task = at(real_data, "val2017").official()
    samples = task.samples()
    assert (len(samples), len(task.examples())) == (60, 32)
    name = "coco/results/captions_val2017_VinVLbase_results.json"
    reference = json.loads((real_data / "reference_scores.json").read_text())[name]
    answers = task.read_answers(real_data / name)
    scores = [task.score_answer(sample, answers[sample.id]) for sample in samples]
    for metric, figure in task.aggregate(samples, scores, seed=0).items():
        assert figure.value == pytest.approx(reference[metric], abs=1e-6)
    for image, marks in task.sample_metrics(samples, scores).items():
        assert marks["CIDEr"] == pytest.approx(reference["CIDEr_per_image"][image], abs=1e-6)
    for sample in samples:
        assert sample.prompt.images[0].pixels(draft=32).mode == "RGB"
