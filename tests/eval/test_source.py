import json
import os
from pathlib import Path

import PIL.Image
import pytest

from kosmos_eval import Prompt, Sample, Samples, Source
from kosmos_eval.errors import BadData, UnknownName
from kosmos_eval.evaluation.setup import load_model, load_task
from kosmos_eval.evaluation.variant import SettingKey
from kosmos_eval.registry import load_file
from kosmos_eval.source import existing, from_hub, read_json, resolved, table
from tests.fixtures.tasks import asked


def test_a_json_cut_in_the_middle_is_named(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text('{"rows": [1, 2')
    with pytest.raises(BadData, match=r"rows\.json is not complete json"):
        read_json(path)
    with pytest.raises(BadData, match=r"other\.json is missing"):
        read_json(tmp_path / "other.json")


def test_a_json_without_a_key_says_which_one(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"images": []}))
    with pytest.raises(BadData, match="has no 'annotations' at its top level"):
        read_json(path, keys=["images", "annotations"])


def test_what_is_no_regular_file_is_no_json(tmp_path):
    os.mkfifo(tmp_path / "rows.json")
    with pytest.raises(BadData, match=r"rows\.json cannot be read: it is a folder, a pipe or a device"):
        read_json(tmp_path / "rows.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(BadData, match=r"deep\.json is not complete json"):
        read_json(tmp_path / "deep.json")


def test_a_source_reads_images_under_its_root_and_from_the_hubs_caches(tmp_path):
    import datasets
    import huggingface_hub

    (tmp_path / "linked").symlink_to(tmp_path)
    caches = (str(datasets.config.HF_DATASETS_CACHE), huggingface_hub.constants.HF_HUB_CACHE)
    assert Source("data", tmp_path / "linked").readable == (str(tmp_path.resolve()),)
    assert Source("hub", tmp_path).readable[0] == str(tmp_path.resolve())
    assert Source("hub").readable == tuple(map(os.path.realpath, caches))
    assert Source().readable == Source("data", tmp_path, allow_outside=True).readable == ()


def test_an_image_that_a_data_file_names_outside_the_root_fails_its_sample_alone(tmp_path):
    (tmp_path / "root").mkdir()
    for path in ("out.png", "root/in.png"):
        PIL.Image.new("RGB", (8, 8), "red").save(tmp_path / path)
    rows = [{"id": name, "file": name, "colour": "red"} for name in ("in.png", "../out.png", f"{tmp_path}/out.png")]
    (tmp_path / "root" / "rows.json").write_text(json.dumps({"rows": rows}))
    load_file(Path(__file__).parents[1] / "fixtures" / "toy.py")

    def failed(**options):
        task = load_task("toy", Source("data", tmp_path / "root", **options))
        run, _ = asked(load_model("scripted:gold"), {"toy": task})
        return {record.id: record.error or "" for record in run.of(SettingKey("toy"))}

    found = failed()
    assert found["in.png"] == "" and len(found) == 3
    assert all("lies outside" in found[name] for name in ("../out.png", f"{tmp_path}/out.png"))
    assert set(failed(allow_outside=True).values()) == {""}


def test_missing_images_are_named_and_counted(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(BadData, match=r"rows\.json names image b\.jpg, which is not in .* \(and 1 more\)"):
        existing(tmp_path, ["a.jpg", "c.jpg", "b.jpg"], named_by=tmp_path / "rows.json")


def test_a_source_finds_its_folder_under_the_root_or_is_it(tmp_path):
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco" / "file").touch()
    assert Source("data", tmp_path).folder("coco") == tmp_path / "coco"
    assert Source("data", tmp_path / "coco").folder("coco") == tmp_path / "coco"
    with pytest.raises(BadData, match="is not a folder"):
        Source("data", tmp_path / "nowhere").folder()


def test_a_folder_is_found_in_upper_and_lower_case(tmp_path):
    (tmp_path / "SuperGLUE" / "boolq").mkdir(parents=True)
    (tmp_path / "SuperGLUE" / "boolq" / "file").touch()
    found = Source("data", tmp_path).folder("BoolQ", "superglue/BoolQ")
    assert found.samefile(tmp_path / "SuperGLUE" / "boolq")


def test_archives_that_may_not_be_unpacked_are_named(tmp_path):
    for name in ("b.zip", "a.tar.gz", "._b.zip", "c.json"):
        (tmp_path / name).touch()
    with pytest.raises(
        BadData, match=r"toy: no split was found under .* \(are a\.tar\.gz, b\.zip unpacked\?\); `kosmos-eval"
    ):
        Source("data", tmp_path).chosen([], task="toy")


def test_an_unknown_split_lists_the_known_ones():
    with pytest.raises(UnknownName, match="no split of toy is called 'tset'; did you mean 'test'"):
        Source(split="tset").chosen(["test", "train"], task="toy")


def test_images_of_a_table_stay_undecoded():
    rows = [{"id": "1", "image": "a.png", "images": [{"bytes": b"x", "path": None}]}]
    assert table(rows, images=["image", "images"])[0] == {
        "id": "1",
        "image": {"bytes": None, "path": "a.png"},
        "images": [{"bytes": b"x", "path": None}],
    }


def test_an_empty_table_is_no_data():
    with pytest.raises(BadData, match="the split is empty"):
        table([])


def test_a_row_without_a_column_says_what_there_is():
    samples = Samples([{"sentence": "?"}], lambda row: Sample(row["id"], Prompt("?")))
    with pytest.raises(BadData, match="a row has no column 'id', only sentence"):
        samples[0]


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch):
    import huggingface_hub

    class Unreachable(OSError):
        pass

    def refuse(*args, **kwargs):
        raise Unreachable("no route to host")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", refuse)
    with pytest.raises(BadData, match=r"cannot reach someone/set on the hub \(no route to host\)"):
        resolved(Source("hub"), "someone/set")


def test_a_mirror_that_changed_is_read_again(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "mirror" / "someone" / "set"
    folder.mkdir(parents=True)

    def rows(value):
        datasets.Dataset.from_dict({"x": [value]}).to_parquet(folder / "test-00000-of-00001.parquet")
        return from_hub("someone/set", source=Source("hub", tmp_path / "mirror"), split="test")[0]["x"]

    assert [rows(1), rows(22)] == [1, 22]
    with pytest.raises(BadData, match="cannot load split 'val' of"):
        from_hub("someone/set", source=Source("hub", tmp_path / "mirror"), split="val")
    with pytest.raises(BadData, match="is not a folder; a mirror keeps each data set under its hub name"):
        from_hub("someone/other", source=Source("hub", tmp_path / "mirror"), split="test")
