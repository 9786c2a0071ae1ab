"""Records of official files: what is malformed is named by its place, in every task and in one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.evaluation.setup import load_task
from kosmos_eval.source import Source
from kosmos_tasks.formats.records import (
    columns,
    csv_rows,
    distinct,
    each,
    identity,
    json_lines,
    lines,
    listed,
    number,
    one_of,
    some,
    text,
    texts,
)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (["a"], "line 1 is \"\\['a'\\]\"; expected an object with premise, label"),
        ({"label": 0}, "line 1 has no 'premise', only label; expected the official format"),
        ({"premise": " ", "label": 0}, "line 1 has 'premise' ' '; expected some text"),
        ({"premise": None, "label": 0}, "line 1 has 'premise' 'None'; expected some text"),
        ({"premise": "p", "label": 2}, "line 1 has 'label' '2'; expected one of 0, 1"),
        ({"premise": "p", "label": True}, "line 1 has 'label' 'True'; expected one of 0, 1"),
    ],
)
def test_a_malformed_row_is_named(row: Any, problem: str) -> None:
    with pytest.raises(BadData, match=problem):
        columns(row, {"premise": text, "label": one_of(0, 1)}, place="line 1")


def test_columns_are_cut_and_converted() -> None:
    row = {"a": ["x", "y"], "b": "no", "c": 1}
    assert columns(row, {"a": texts(2), "b": one_of("no", "yes", labels=(0, 1))}, place="") == {"a": ["x", "y"], "b": 0}
    with pytest.raises(BadData, match="expected a list of 3 texts"):
        columns(row, {"a": texts(3)}, place="")


def test_lines_keep_unicode_line_breaks_and_skip_blank_ones(tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text('\ufeff"a\u2028b"\r\n\n"c"\n', encoding="utf-8")
    assert [value for _, value in json_lines(file)] == ["a\u2028b", "c"]
    assert [place for place, _ in lines(file)] == [f"line 1 of {file}", f"line 3 of {file}"]


def test_a_cut_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text('{"a": 1}\n{"a"')
    with pytest.raises(BadData, match=r"line 2 of .*f\.jsonl is not JSON: '\{\"a\"'; get the file again"):
        list(json_lines(file))
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(BadData, match=r"f\.jsonl cannot be read"):
        list(lines(file))


@pytest.mark.parametrize(
    ("convert", "value", "found"), [(number, 7, 7), (number, "07", 7), (identity, 7, "7"), (identity, "a b", "a b")]
)
def test_numbers_may_be_written_as_text(convert: Any, value: Any, found: Any) -> None:
    assert convert(value) == found


@pytest.mark.parametrize("value", [True, None, 1.5, "1.5", "-", "", [1]])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="a whole number"):
        number(value)


def test_the_texts_of_a_list_of_objects_are_taken_out() -> None:
    assert each("raw")([{"raw": "a", "other": 1}, {"raw": ""}]) == ["a", ""]
    for value, problem in (
        ("ab", "a list of objects with 'raw'"),
        (["a"], "a list of objects with 'raw'"),
        ([{"raw": 1}], "a text as 'raw'"),
        ([{}], "a text as 'raw'"),
    ):
        with pytest.raises(ValueError, match=problem):
            each("raw")(value)


def test_rows_that_are_missing_or_stand_twice_are_refused() -> None:
    assert list(distinct([{"id": 1}, {"id": 2}], "id", named_by="f")) == [{"id": 1}, {"id": 2}]
    with pytest.raises(BadData, match="id 1 stands twice in f; get the official file again"):
        list(distinct([{"id": 1}, {"id": 1}], "id", named_by="f"))
    with pytest.raises(BadData, match="f holds no rows; get the file again"):
        some([], named_by="f")
    for content in ({"a": 1}, None, [], "text"):
        with pytest.raises(BadData, match=r"f holds .*; expected a list of records"):
            listed(content, named_by="f")


def test_a_csv_file_may_have_a_byte_order_mark_line_breaks_in_cells_and_cells_left_out(tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    file.write_bytes('\ufeffa,b\r\n1,"x\ny"\r\n\r\n2\r\n\u2028,é'.encode())
    assert list(csv_rows(file)) == [
        (f"line 3 of {file}", {"a": "1", "b": "x\ny"}),
        (f"line 5 of {file}", {"a": "2", "b": ""}),
        (f"line 6 of {file}", {"a": "\u2028", "b": "é"}),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a,b\n1,2,3\n", r"line 2 of .*f\.csv has more cells than the 2 of the first line; get the file again"),
        (b"a,b\n1,\xe9\n", r"f\.csv cannot be read \('utf-8' codec"),
        (b"a\n" + b"1" * 200_000, r"line 2 of .*f\.csv is not CSV \(field larger than field limit"),
    ],
)
def test_what_is_wrong_with_a_csv_file_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "f.csv").write_bytes(content)
    with pytest.raises(BadData, match=problem):
        list(csv_rows(tmp_path / "f.csv"))


def lined(*rows: Any) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def dumped(content: Any) -> bytes:
    return json.dumps(content).encode()


QUESTION = {"image": "v.jpg", "question": "?", "answers": [{"answer": "a"}] * 10, "answer_type": "other"}
ASKED = {"question_id": 1, "image_id": 1, "question": "?"}
ANNOTATED = {"question_id": 1, "answers": [{"answer": "a"}], "answer_type": "other", "multiple_choice_answer": "a"}
VQA = ("v2_OpenEnded_mscoco_val2014_questions.json", "v2_mscoco_val2014_annotations.json")
BIRDS = {"kind": "bird", "categories": [{"name": name, "description": "d", "images": name} for name in "ab"]}


@pytest.mark.parametrize(
    ("task", "files", "problem"),
    [
        ("vizwiz", {"val.json": dumped([QUESTION, QUESTION])}, r"question_id v stands twice in .*val\.json"),
        ("vizwiz", {"val.json": b"null"}, r"val\.json holds 'None'; expected a list of records"),
        (
            "vizwiz",
            {"val.json": dumped([QUESTION | {"answers": [{"answer": 3}]}])},
            r"question 0 of .*val\.json has 'answers' .*; expected a text as 'answer' of each",
        ),
        (
            "vqav2",
            {VQA[0]: dumped({"questions": [ASKED] * 2}), VQA[1]: dumped({"annotations": [ANNOTATED]})},
            r"question_id 1 stands twice in .*questions\.json",
        ),
        (
            "vqav2",
            {VQA[0]: dumped({"questions": [ASKED]}), VQA[1]: dumped({"annotations": [ANNOTATED | {"answer_type": 2}]})},
            r"annotation 0 of .*annotations\.json has 'answer_type' '2'; expected a text",
        ),
        (
            "coco_caption",
            {
                "annotations/captions_val2017.json": dumped(
                    {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": None}]}
                )
            },
            r"annotation 0 of .*captions_val2017\.json has 'caption' 'None'; expected a text",
        ),
        ("flickr30k", {"test.json": dumped({"a.jpg": "a cat"})}, r"image a\.jpg of .* has 'a cat'; expected a list of"),
        (
            "flickr30k",
            {"dataset_flickr30k.json": dumped({"images": [{"filename": 5, "split": "test", "sentences": []}]})},
            r"image 0 of .* has 'filename' '5'; expected some text",
        ),
        ("hateful_memes", {"dev.jsonl": b""}, r"dev\.jsonl holds no rows; get the file again"),
        ("cub_descriptions", {"groups.json": dumped([BIRDS] * 2), "a/1.png": b"", "b/1.png": b""}, "stands twice in"),
        ("cub_descriptions", {"groups.json": b"5"}, r"groups\.json holds '5'; expected a list of records"),
        ("boolq", {"val.jsonl": b"null"}, r"line 1 of .*val\.jsonl is 'None'; expected an object with passage"),
        ("hellaswag", {"hellaswag_val.jsonl": lined({"ctx_b": None})}, r"has no 'activity_label', only ctx_b"),
        ("memory_color", {"memory_color_data.csv": b"\n"}, r"memory_color_data\.csv holds no rows"),
        ("storycloze", {"cloze_test_test__spring2016.csv": b"\xe9"}, r"spring2016\.csv cannot be read"),
        ("rendered_sst2", {"test.tsv": b"bon caf\xe9\t1\n"}, r"test\.tsv cannot be read"),
        (
            "websrc",
            {
                "data/auto/08/dataset.csv": b"question,id,answer\nHow?,au080000100000,x\nWhy?,au080000100000,x\n",
                "data/auto/08/processed_data/0800001.png": b"",
                "data/auto/08/processed_data/0800001.html": b"",
            },
            r"id au080000100000 stands twice in",
        ),
    ],
)
def test_a_malformed_file_is_told_in_one_line(task: str, files: dict[str, bytes], problem: str, tmp_path: Path) -> None:
    folder = tmp_path / {"websrc": "websrc"}.get(task, "")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    with pytest.raises(BadData, match=problem) as caught:
        len(load_task(task, Source("data", tmp_path)).samples())
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path: Path) -> None:
    (tmp_path / "val.jsonl").write_bytes(b"\xef\xbb\xbf" + lined({"passage": "P.", "question": "q", "label": True}))
    assert load_task("boolq", Source("data", tmp_path)).samples()[0].prompt.text().startswith("P.")
    (tmp_path / "test.tsv").write_bytes("\ufeffgood\t1\r\nbad\t0\r\n".encode())
    from kosmos_tasks.formats.rendered_sst2 import _sentences

    assert [row["text"] for row in _sentences(tmp_path, "test")] == ["good", "bad"]
