"""What recipes of synthetic splits promise: no repetition, two sides that never meet, the same pixels anywhere."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kosmos_tasks.synthetic import digits, matrices, new_words, opinions, recipe, scene_captions, scene_questions
from kosmos_tasks.synthetic.recipe import side, stream

Rows = Callable[..., Iterator[dict[str, Any]]]

RECIPES: dict[str, Rows] = {
    "captions": scene_captions.captions,
    "questions": scene_questions.questions,
    "opinions": opinions.rows,
    "matrices": matrices.rows,
    "digits": digits.rows,
    "new_words": new_words.rows,
}

PIXELS = {
    "captions": "dbf7e3553d7b9cba",
    "questions": "b0fd8c99b95a760a",
    "opinions": "da098d54d70cb163",
    "matrices": "29e86e3ff5b074ea",
    "digits": "1acc20f7871bb659",
    "new_words": "537c024101ae8b13",
}


def pictures(value: Any) -> Iterator[Image.Image]:
    """All images of a row, in the order of its columns."""
    if isinstance(value, dict) and value.keys() == {"bytes", "path"}:
        yield Image.open(BytesIO(value["bytes"]))
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from pictures(part)


def drawn(row: dict[str, Any]) -> str:
    """Everything a row shows and tells, its id left out."""
    return json.dumps({name: value for name, value in row.items() if name != "id"}, default=bytes.hex, sort_keys=True)


def fingerprint(rows: Iterator[dict[str, Any]]) -> str:
    """A hash of the pixels of all images of some rows."""
    pixels = hashlib.sha256()
    for image in pictures(list(rows)):
        pixels.update(f"{image.mode} {image.size}".encode() + image.tobytes())
    return pixels.hexdigest()[:16]


def test_importing_the_recipes_imports_no_imaging_library() -> None:
    modules = ", ".join(f"kosmos_tasks.synthetic.{rows.__module__.rpartition('.')[2]}" for rows in RECIPES.values())
    code = f"import sys, {modules}; assert not {{'PIL', 'numpy', 'torch', 'datasets'}} & set(sys.modules)"
    tasks = Path(recipe.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(tasks)})


def test_a_content_has_one_side_and_a_fifth_are_held_out() -> None:
    sides = [side(("content", number)) for number in range(5000)]
    assert 850 < sides.count("test") < 1150
    assert sides == [side(("content", number)) for number in range(5000)]


def test_a_stream_ends_when_nothing_new_can_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "PATIENCE", 2000)

    def draw(rng: Any) -> int:
        return int(rng.randrange(20))

    both = {
        split: [item for _, item in stream("few", split, 0, draw=draw, content=lambda item: item)]
        for split in ("train", "test")
    }
    assert sorted(both["train"] + both["test"]) == list(range(20))


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("split", ["train", "test"])
def test_no_item_stands_twice(name: str, split: str) -> None:
    rows = list(RECIPES[name](split, 6 if name == "new_words" else 100))
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({drawn(row) for row in rows}) == len(rows)


@pytest.mark.parametrize("name", RECIPES)
def test_the_same_call_gives_the_same_rows_and_more_rows_begin_with_fewer(name: str) -> None:
    rows = list(RECIPES[name]("train", 6, seed=3))
    assert rows == list(RECIPES[name]("train", 6, seed=3))
    assert rows[:3] == list(islice(RECIPES[name]("train", seed=3), 3))
    assert rows != list(RECIPES[name]("train", 6, seed=4))


@pytest.mark.parametrize("name", RECIPES)
def test_no_id_of_the_test_occurs_in_train_under_other_seeds(name: str) -> None:
    few = 6 if name == "new_words" else 60
    tested = {row["id"] for row in RECIPES[name]("test", few)}
    for seed in (0, 1, 2):
        assert not tested & {row["id"] for row in RECIPES[name]("train", few, seed=seed)}


@pytest.mark.parametrize("name", RECIPES)
def test_the_pixels_are_the_same_on_every_machine(name: str) -> None:
    assert fingerprint(RECIPES[name]("test", 3)) == PIXELS[name]


@pytest.mark.parametrize("name", RECIPES)
def test_every_image_is_small_and_rgb(name: str) -> None:
    sizes = {(image.mode, image.size) for image in pictures(list(RECIPES[name]("train", 3)))}
    assert sizes == {("RGB", (48, 48) if name == "matrices" else (96, 96))}


def test_rows_become_a_data_set_with_lazily_decoded_images() -> None:
    import datasets

    rows = list(digits.rows("test", 2))
    table = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
    assert table[1]["image"].size == (96, 96)
    assert table[1]["label"] == rows[1]["label"]
