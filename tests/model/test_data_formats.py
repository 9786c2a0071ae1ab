import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from kosmos_eval.errors import BadData
from kosmos_model.data.formats import Row, Skipped, rows
from kosmos_model.data.shards import shards

TEXTS = [f"text {number} " + "x" * (number * 7 % 40) for number in range(23)]


def jsonl(texts):
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


def tar(samples):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in samples:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def zipped(name, content):
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        archive.writestr(name, content)
    return stored.getvalue()


def zstandard(content):
    import zstandard as zstd

    return b"".join(zstd.ZstdCompressor().compress(half) for half in (content[:100], content[100:]))


def parquet(path, rows, **options):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), path, **options)


FILES = {
    "a.jsonl": jsonl(TEXTS),
    "a.json": jsonl(TEXTS),
    "a.jsonl.gz": gzip.compress(jsonl(TEXTS)),
    "a.json.zst": zstandard(jsonl(TEXTS)),
    "a.jsonl.zip": zipped("a.jsonl", jsonl(TEXTS)),
    "a.txt": b"\n\n\n" + "\n\n".join(text.replace(" ", "\n", 1) for text in TEXTS).encode(),
    "a.tar": tar((f"d/{index:03}.txt", text.encode()) for index, text in enumerate(TEXTS)),
    "a.tar.gz": gzip.compress(tar((f"{index}.txt", text.encode()) for index, text in enumerate(TEXTS))),
}


def read(path, parts=1):
    return [row for part in range(parts) for row in rows(path, part, parts)]


def texts_of(found):
    values = [row.values.get("text") or row.values["txt"].decode() for row in found]
    return [value.replace("\n", " ") for value in values]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("parts", [1, 2, 7, 60])
def test_the_parts_of_a_shard_have_every_row_once(tmp_path, name, parts):
    (tmp_path / name).write_bytes(FILES[name])
    found = read(tmp_path / name, parts)
    assert texts_of(found) == [text.strip() for text in TEXTS] if name == "a.txt" else texts_of(found) == TEXTS
    assert len({row.id for row in found}) == len(TEXTS)


def test_parquet_is_read_by_row_groups(tmp_path):
    parquet(tmp_path / "a.parquet", [{"text": text} for text in TEXTS], row_group_size=5)
    (shard,) = shards((str(tmp_path),))
    assert shard.parts == 5
    assert texts_of(read(shard.path, 5)) == TEXTS
    assert [row.values["text"] for row in rows(shard.path, 4, 5)] == TEXTS[20:]


def test_the_files_of_a_webdataset_sample_share_a_name_up_to_its_first_dot(tmp_path):
    members = [("s/0001.jpg", b"\xff"), ("s/0001.json", b"{}"), ("s/0002.seg.png", b"\x01"), ("s/0002.TXT", b"two")]
    (tmp_path / "a.tar").write_bytes(tar(members))
    first, second = read(tmp_path / "a.tar")
    assert first == Row(f"{tmp_path}/a.tar/s/0001", {"jpg": b"\xff", "json": b"{}"})
    assert second.values == {"seg.png": b"\x01", "txt": b"two"}


def test_coco_captions_come_with_the_names_of_their_images(tmp_path):
    images = [{"id": 7, "file_name": "7.jpg"}, {"id": 8, "file_name": "8.jpg"}]
    annotations = [{"id": 1, "image_id": 8, "caption": "A dog."}, {"id": 2, "image_id": 7, "caption": "A cat."}]
    for name, indent in (("flat.json", None), ("deep.json", 1)):
        (tmp_path / name).write_text(json.dumps({"images": images, "annotations": annotations}, indent=indent))
        found = [(row.values["file_name"], row.values["caption"]) for row in read(tmp_path / name, 2)]
        assert found == [("8.jpg", "A dog."), ("7.jpg", "A cat.")]


def test_a_broken_line_is_skipped_and_named_by_its_place(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "one"}\n{"text": "tw\n[3]\n{"text": "\xff"}\n\n{"text": "five"}')
    found = read(path, 3)
    assert texts_of(row for row in found if isinstance(row, Row)) == ["one", "five"]
    assert [row.where for row in found if isinstance(row, Skipped)] == [f"{path}@16", f"{path}@29", f"{path}@33"]


def damaged(name):
    content = FILES[name]
    return content[: len(content) // 2]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.tar", "a.tar.gz"])
def test_a_shard_that_is_cut_short_is_read_up_to_there_and_named_once(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(damaged(name))
    found = read(path, 4)
    whole = texts_of(row for row in found if isinstance(row, Row))
    assert 0 < len(whole) < len(TEXTS)
    assert whole == TEXTS[: len(whole)]
    assert [row for row in found if isinstance(row, Skipped) and row.where == str(path) and "damaged" in row.why]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.jsonl.zip", "a.tar", "a.parquet"])
def test_a_file_of_another_kind_is_named_and_gives_nothing(tmp_path, name):
    (tmp_path / name).write_bytes(b"<html>404 not found</html>\n" * 100)
    (found,) = read(tmp_path / name, 3)
    assert isinstance(found, Skipped) and found.where == str(tmp_path / name)


def test_a_damaged_row_group_is_skipped_and_the_others_are_read(tmp_path):
    path = tmp_path / "a.parquet"
    parquet(path, [{"text": text * 50} for text in TEXTS], row_group_size=10, compression="zstd")
    content = bytearray(path.read_bytes())
    content[40:200] = bytes(160)
    path.write_bytes(content)
    found = read(path, 3)
    assert [row.where for row in found if isinstance(row, Skipped)] == [f"{path}:0"]
    assert len(found) == 1 + 13


def test_paths_are_files_patterns_folders_and_variables(tmp_path, monkeypatch):
    for name in ("b.jsonl", "a.jsonl", "sub/c.jsonl.gz", "notes.md", "empty.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"" if "empty" in name else b"{}\n")
    monkeypatch.setenv("CORPUS", str(tmp_path))
    assert [shard.path.name for shard in shards((str(tmp_path),))] == ["a.jsonl", "b.jsonl", "c.jsonl.gz"]
    assert [shard.path for shard in shards(("$CORPUS/b*", str(tmp_path / "a.jsonl")))] == [
        tmp_path / "b.jsonl",
        tmp_path / "a.jsonl",
    ]
    with pytest.raises(BadData, match="names no file of training data; expected a file, a pattern or a folder"):
        shards((str(tmp_path / "none*"),))
    with pytest.raises(BadData, match=r"notes\.md has no known format; expected \.jsonl"):
        shards((str(tmp_path / "notes.md"),))


def test_a_file_that_is_gone_is_named(tmp_path):
    (found,) = read(Path(tmp_path / "gone.jsonl"), 2)
    assert isinstance(found, Skipped) and "No such file" in found.why
