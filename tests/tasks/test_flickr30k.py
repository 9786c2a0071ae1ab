"""Flickr30k: prompts, both forms of the official file, missing images, and what can be wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.metrics import caption
from kosmos_eval.metrics.caption import CaptionScores
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Completion, Generate
from kosmos_eval.source import Source
from kosmos_tasks.flickr30k import Flickr30k

CAPTIONS = {"1.jpg": ["A dog runs .", "A dog ."], "2.jpg": ["Two men sit .", "Men ."]}


KARPATHY = [
    {"filename": name, "split": split, "sentences": [{"raw": text} for text in CAPTIONS[name]]}
    for name, split in (("1.jpg", "train"), ("2.jpg", "test"))
]


def official(root: Path, split: str = "test", *, names: tuple[str, ...] = ("1.jpg", "2.jpg")) -> Path:
    """A file for a split, whose captions end with the path of the image, as it is in circulation."""
    folder = root / "flickr30k"
    (folder / "flickr30k-images").mkdir(parents=True, exist_ok=True)
    for name in names:
        PIL.Image.new("RGB", (4, 4), (len(split), int(name[0]), 0)).save(folder / "flickr30k-images" / name)
    said = {name: [*captions, f"flickr30k-images/{name}"] for name, captions in CAPTIONS.items()}
    (folder / f"{split}.json").write_text(json.dumps(said))
    return root


def at(root: Path, **options: Any) -> Flickr30k:
    return Flickr30k(Source("data", root), spice=False, **options)


def test_the_zero_shot_prompt_is_the_papers(tmp_path: Path) -> None:
    task = at(official(tmp_path))
    image = Image(tmp_path / "flickr30k" / "flickr30k-images" / "1.jpg")
    (request,) = task.requests(task.samples()[0], [])
    assert request == Generate(Prompt(image, "An image of"), max_tokens=32, stop=("\n",), beams=5, length_penalty=1.0)


def test_the_one_shot_prompt_shows_a_human_caption_above(tmp_path: Path) -> None:
    task = at(official(official(tmp_path), "validation"))
    sample, shot = task.samples()[0], task.examples()[1]
    (request,) = task.requests(sample, [shot])
    (shown,), (asked,) = shot.prompt.images, sample.prompt.images
    assert request.prompt == Prompt(shown, "An image of Two men sit .\n", asked, "An image of")


def test_the_path_of_the_image_is_no_caption(tmp_path: Path) -> None:
    assert [sample.references for sample in at(official(tmp_path)).samples()] == [
        ("A dog runs .", "A dog ."),
        ("Two men sit .", "Men ."),
    ]


def test_the_split_of_karpathy_is_read_from_his_file(tmp_path: Path) -> None:
    (official(tmp_path) / "flickr30k" / "dataset_flickr30k.json").write_text(json.dumps({"images": KARPATHY}))
    task = at(tmp_path)
    assert [sample.id for sample in task.samples()] == ["2.jpg"]
    assert [shot.id for shot in task.examples()] == ["1.jpg"]


def test_the_file_of_karpathys_archive_is_read_where_it_unpacks(tmp_path: Path) -> None:
    folder = official(tmp_path) / "flickr30k"
    (folder / "test.json").unlink()
    (folder / "flickr30k").mkdir()
    (folder / "flickr30k" / "dataset.json").write_text(json.dumps({"images": KARPATHY}))
    assert [sample.id for sample in at(tmp_path).samples()] == ["2.jpg"]


def hubs(folder: Path, raw: str) -> None:
    """The csv of the hub: a JSON list of captions in a cell, its quotes doubled."""
    (folder / "test.json").unlink()
    lines = ["raw,sentids,split,filename,img_id", f'{raw},"[0, 1]",test,2.jpg,1', '"[""A dog .""]",[2],train,1.jpg,0']
    (folder / "flickr_annotations_30k.csv").write_text("\r\n".join(lines), newline="")


def test_the_csv_of_the_hub_is_read(tmp_path: Path) -> None:
    hubs(official(tmp_path) / "flickr30k", '"[""Two men, sit ."", ""Men .""]"')
    (sample,), (shot,) = at(tmp_path).samples(), at(tmp_path).examples()
    assert (sample.id, sample.references) == ("2.jpg", ("Two men, sit .", "Men ."))
    assert (shot.id, shot.target) == ("1.jpg", "A dog .")


def test_a_cell_that_is_no_list_of_captions_is_named(tmp_path: Path) -> None:
    hubs(official(tmp_path) / "flickr30k", "Two men")
    with pytest.raises(BadData, match=r"line 2 of .*30k\.csv has 'raw' 'Two men'; expected a JSON list of captions"):
        at(tmp_path).samples()


def test_the_archive_of_kaggle_nests_its_images_and_has_no_splits(tmp_path: Path) -> None:
    folder = official(tmp_path) / "flickr30k"
    captions = (folder / "test.json").rename(tmp_path / "test.json")
    (folder / "flickr30k_images").mkdir()
    (folder / "flickr30k-images").rename(folder / "flickr30k_images" / "flickr30k_images")
    (folder / "flickr30k_images" / "results.csv").write_text("image_name| comment_number| comment\n1.jpg| 0| A dog .")
    with pytest.raises(
        BadData, match=r"results\.csv does not say which image is of which split; add dataset_flickr30k"
    ):
        at(tmp_path).samples()
    captions.rename(folder / "test.json")
    assert [Path(sample.prompt.images[0].name).parts[-3:] for sample in at(tmp_path).samples()] == [
        ("flickr30k_images", "flickr30k_images", "1.jpg"),
        ("flickr30k_images", "flickr30k_images", "2.jpg"),
    ]


def test_where_no_image_is_there_a_part_is_not_proposed(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"2 of the 2 images of test are not in .*flickr30k-images; add them$"):
        at(official(tmp_path, names=()), partial=True).samples()


def test_missing_images_are_refused_unless_a_part_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    official(tmp_path, names=("2.jpg",))
    with pytest.raises(BadData, match=r"1 of the 2 images of test are not in .*; add them, or evaluate those that are"):
        at(tmp_path).samples()
    task = at(tmp_path, partial=True)
    assert [sample.id for sample in task.samples()] == ["2.jpg"]
    assert task.notes == ["only the images that are there"]
    counted = []

    def stand_in(candidates: Any, references: Any, *, frequencies_from: Any, spice: bool) -> CaptionScores:
        counted.append(list(frequencies_from))
        return CaptionScores(tuple(candidates), {"CIDEr": 1.0}, {"CIDEr": (1.0,)}, ((0,) * 10,), ((0,) * 23,), {})

    monkeypatch.setattr(caption, "caption_scores", stand_in)
    score = task.score(task.samples()[0], [Completion(" two men on a bench ")])
    assert task.sample_metrics(task.samples(), [score]) == {"2.jpg": {"CIDEr": 1.0}}
    assert counted == [["1.jpg", "2.jpg"]], "CIDEr counts the whole split"


def test_a_corpus_is_marked_as_that_of_coco_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stand_in(candidates: Any, references: Any, **others: Any) -> CaptionScores:
        assert references["1.jpg"] == ("A dog runs .", "A dog .")
        right = tuple(float(text in references[image]) for image, text in candidates.items())
        return CaptionScores(tuple(candidates), {}, {"CIDEr": right}, ((0,) * 10,), ((0,) * 23,), {})

    monkeypatch.setattr(caption, "caption_scores", stand_in)
    monkeypatch.setattr(caption, "metrics", lambda found, seed: {"Bleu_1": 0, "CIDEr": sum(found.per_image["CIDEr"])})
    task = at(official(tmp_path))
    samples = task.samples()
    scores = [task.score(sample, [Completion(" A dog .\n")]) for sample in samples]
    found = task.aggregate([sample.outline for sample in samples], scores, seed=0)
    assert list(found.items()) == [("CIDEr", 1.0), ("Bleu_1", 0)]
    assert task.aggregate([], [], seed=0) == {}


@pytest.mark.parametrize(
    ("content", "problem"),
    [({"1.jpg": []}, r"image 1\.jpg of .* has no caption"), (["1.jpg"], "is not in the official format")],
)
def test_a_malformed_row_is_named(tmp_path: Path, content: Any, problem: str) -> None:
    official(tmp_path)
    (tmp_path / "flickr30k" / "test.json").write_text(json.dumps(content))
    with pytest.raises(BadData, match=problem):
        at(tmp_path).samples()


def test_the_hub_is_read_in_its_own_columns(mirrored: Callable[..., Source]) -> None:
    image = {"bytes": Image.drawn(PIL.Image.new("RGB", (4, 4), "red")).encoded(), "path": None}
    task = Flickr30k(mirrored("royokong/flickr30k_test", {"test": [{"image": image, "text": ["A dog.", "It."]}]}))
    assert [(sample.id, sample.references) for sample in task.samples()] == [("test/0", ("A dog.", "It."))]
    assert [shot.target for shot in task.examples()] == ["A dog."]


def test_real_captions_are_five_and_the_images_there_are_found(real_data: Path) -> None:
    samples = [*at(real_data, partial=True).samples(), *at(real_data, partial=True).examples()]
    assert len(samples) == 4
    assert all(len(sample.references) == 5 for sample in samples)
    with pytest.raises(BadData, match="998 of the 1000 images of test are not in"):
        at(real_data).samples()
