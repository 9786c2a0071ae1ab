"""The handwritten digits of the synthetic splits."""

from collections import Counter
from io import BytesIO

from PIL import Image

from kosmos_tasks.synthetic.digits import NAMES, Digit, digits, draw, rows


def test_all_1797_images_are_there_and_each_on_one_side() -> None:
    train, test = list(rows("train")), list(rows("test"))
    assert len(digits()) == len(train) + len(test) == 1797
    assert len(test) >= 500
    pixels = [row["image"]["bytes"] for row in train + test]
    assert len(set(pixels)) == 1797


def test_the_first_line_of_the_source_is_a_zero() -> None:
    first = digits()[0]
    assert first.label == 0
    assert first.pixels[:8] == (0, 0, 5, 13, 9, 1, 0, 0)
    assert {len(digit.pixels) for digit in digits()} == {64}
    assert Counter(digit.label for digit in digits())[3] == 183


def test_the_default_sizes_are_exactly_balanced() -> None:
    assert Counter(row["label"] for row in rows("test", 300)) == dict.fromkeys(range(10), 30)
    assert Counter(row["label"] for row in rows("train", 400)) == dict.fromkeys(range(10), 40)


def test_another_seed_begins_with_other_images() -> None:
    one, other = list(rows("test", 40)), list(rows("test", 40, seed=1))
    assert [row["id"] for row in one] != [row["id"] for row in other]
    assert [row["label"] for row in one] != [row["label"] for row in other]


def test_ink_is_dark_and_paper_white() -> None:
    image = draw(Digit((0,) * 32 + (16,) * 32, 0))
    assert image.getpixel((48, 20)) == (255, 255, 255)
    assert image.getpixel((48, 75)) == (0, 0, 0)


def test_a_label_names_its_digit() -> None:
    assert NAMES[next(iter(rows("test", 1)))["label"]] in NAMES
    assert len(NAMES) == 10
    assert Image.open(BytesIO(next(iter(rows("test", 1)))["image"]["bytes"])).size == (96, 96)
