import json
from hashlib import sha256
from pathlib import Path

import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Image, Prompt
from kosmos_model.data.corpora import Place, mmc4, obelics, pairs, text, without_missing

HERE = Place(Path("pictures"))
MMC4 = {
    "image_info": [
        {"face_detections": None, "image_name": "b9.jpg", "matched_sim": 0.27, "matched_text_index": 2, "raw_url": "-"},
        {"face_detections": None, "image_name": "db.jpg", "matched_sim": 0.32, "matched_text_index": 1, "raw_url": "-"},
    ],
    "similarity_matrix": [[0.24, 0.31, 0.27], [0.22, 0.32, 0.26]],
    "text_list": ["Lock the door.", "Press the switch. ", "The doors lock."],
    "url": "http://example.com",
    "could_have_url_duplicate": 0,
}


def picture(name):
    return Image(Path("pictures") / name)


@pytest.mark.parametrize("column", ["text", "content", "raw_content"])
def test_a_text_stands_in_the_column_of_its_data_set(column):
    assert text({column: " one\n"}, HERE) == "one"


def test_a_column_may_be_named():
    assert text({"text": "no", "body": "yes"}, Place(columns={"text": "body"})) == "yes"


@pytest.mark.parametrize(
    "row",
    [
        {"jpg": b"\xff", "txt": b"A  cat.\n"},
        {"png": b"\xff", "json": json.dumps({"caption": "A cat."}).encode()},
        {"image": {"bytes": b"\xff", "path": "cat.jpg"}, "text": "A cat."},
        {"jpg": b"\xff", "caption": "A cat.", "key": "000010005", "status": "success"},
    ],
)
def test_a_pair_is_its_image_and_then_its_caption(row):
    assert pairs(row, HERE) == Prompt(Image(b"\xff"), "A cat.")


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"file_name": "7.jpg", "caption": "A cat."}, "7.jpg"),
        ({"image_path": "a/7.png", "TEXT": "A cat.", "URL": "http://x"}, "a/7.png"),
        ({"key": "000010005", "caption": "A cat.", "status": "success"}, "00001/000010005.jpg"),
        ({"image": {"bytes": None, "path": "7.jpg"}, "caption": "A cat."}, "7.jpg"),
    ],
)
def test_the_image_of_a_pair_may_be_a_file(row, name):
    assert pairs(row, HERE) == Prompt(picture(name), "A cat.")


def test_an_image_of_mmc4_stands_before_the_sentence_it_is_matched_to():
    assert mmc4(MMC4, HERE) == Prompt(
        "Lock the door.", picture("db.jpg"), "Press the switch.", picture("b9.jpg"), "The doors lock."
    )
    together = {**MMC4, "image_info": [{**info, "matched_text_index": 2} for info in MMC4["image_info"]]}
    assert mmc4(together, HERE) == Prompt(
        "Lock the door. Press the switch.", picture("b9.jpg"), picture("db.jpg"), "The doors lock."
    )


def test_texts_and_images_of_obelics_alternate_by_nulls():
    row = {"images": ["1.jpg", None, None, "2.jpg"], "texts": [None, "One.\n\nTwo.", "Three.", None], "metadata": "[]"}
    assert obelics(row, HERE) == Prompt(picture("1.jpg"), "One.\n\nTwo. Three.", picture("2.jpg"))
    row = {"images": [{"bytes": b"\xff", "path": None}, None], "texts": [None, "One."]}
    assert obelics(row, HERE) == Prompt(Image(b"\xff"), "One.")


def test_a_url_stands_for_the_file_called_by_its_digest(tmp_path):
    name = sha256(b"http://x/y.png?z").hexdigest()
    (tmp_path / f"{name}.png").write_bytes(b"\xff")
    row = {"images": ["http://x/y.png?z", "http://gone", None], "texts": [None, None, "One."]}
    prompt = obelics(row, Place(tmp_path))
    assert prompt.images[0] == Image(tmp_path / f"{name}.png")
    found, missing = without_missing(prompt)
    assert found == Prompt(prompt.images[0], "One.")
    assert missing == [str(tmp_path / sha256(b"http://gone").hexdigest())]


@pytest.mark.parametrize(
    ("corpus", "row", "message"),
    [
        (text, {"title": "x"}, r"no column text or content or raw_content or txt among title"),
        (text, {"text": " "}, "the text is empty"),
        (text, {"text": 3}, "the text is int"),
        (pairs, {"jpg": b"\xff", "txt": b""}, "the caption is empty"),
        (pairs, {"txt": b"A cat."}, "no column image or jpg"),
        (pairs, {"key": "1", "status": "failed_to_download", "error_message": "404"}, "not downloaded: 404"),
        (pairs, {"jpg": b"\xff", "json": b"{"}, "json is damaged"),
        (pairs, {"image": 3, "text": "A cat."}, "an image is int; expected bytes, a path or a cell of both"),
        (mmc4, {"text_list": "One.", "image_info": []}, "a list of texts or images is str"),
        (mmc4, {"text_list": ["One."], "image_info": [{"image_name": "a"}]}, "expected image_name and matched_text_i"),
        (mmc4, {"text_list": [3], "image_info": []}, "a document has int between its texts and images"),
        (obelics, {"images": ["a"], "texts": []}, "1 images stand beside 0 texts; expected as many"),
        (obelics, {"images": ["a"], "texts": [None]}, "the document has no text"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(corpus, row, message):
    with pytest.raises(BadData, match=message):
        corpus(row, HERE)
