import io
import json
import logging
import re
from dataclasses import replace
from itertools import islice
from pathlib import Path

import PIL.Image
import pytest
import torch

from kosmos_eval.errors import BadData
from kosmos_model.data import datasets, files
from kosmos_model.data.batches import Batches, Plan, loader
from kosmos_model.data.datasets import Dataset, documents
from kosmos_model.data.order import OPEN, Order
from kosmos_model.data.shards import Shard
from kosmos_model.modeling.tokenizer import NANO, Tokenizer

TOKENIZER = Tokenizer.read(NANO, slots=2)
WORDS = ["red", "green", "blue", "ring", "star", "heart", "above", "below", "left", "right", "big", "small"]


def sentence(number):
    return f"{number} " + " ".join(WORDS[number * step % len(WORDS)] for step in range(1, 2 + number % 9))


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Twenty shards of twenty texts, in parts of about five."""
    monkeypatch.setattr("kosmos_model.data.shards.PART_BYTES", 250)
    for shard in range(20):
        lines = (json.dumps({"text": sentence(shard * 20 + row)}) + "\n" for row in range(20))
        (tmp_path / f"{shard:02}.jsonl").write_text("".join(lines))
    return Dataset("text", "text", tokens=150, paths=[str(tmp_path)])


def picture(color=(200, 30, 30), size=32):
    stored = io.BytesIO()
    PIL.Image.new("RGB", (size, size), color).save(stored, "PNG")
    return stored.getvalue()


def read(dataset, step, *, seed=0, **share):
    return list(documents(dataset, TOKENIZER, seed=seed, step=step, length=64, **share))


def numbers(found):
    """The numbers that begin the texts of documents."""
    return [int(word) for document in found for word in re.findall(r"\d+", TOKENIZER.decode(document.tokens))]


def test_an_epoch_has_every_part_once_and_the_next_another_order():
    shards = [Shard(Path(str(number)), 1000 + number, 3) for number in range(3 * OPEN - 1)]
    order = Order(shards, seed=1)
    parts = list(islice(order.parts(0), 6 * len(shards)))
    first, second = (
        [(part.shard, part.number) for part in half] for half in (parts[: len(parts) // 2], parts[len(parts) // 2 :])
    )
    assert set(first) == set(second) == {(shard, number) for shard in shards for number in range(3)}
    assert first != second
    assert [part.begin + part.size for part in parts[:-1]] == [part.begin for part in parts[1:]]
    assert parts[len(first)].begin == order.total


def test_the_order_is_known_at_every_place_and_depends_on_the_seed():
    shards = [Shard(Path(str(number)), 1000 + number, 3) for number in range(3 * OPEN - 1)]
    parts = list(islice(Order(shards, seed=1).parts(0), 200))
    for place in (0, 1, 999, 12_345, parts[150].begin, parts[150].begin + 5):
        after = [part for part in parts if part.begin + part.size > place]
        assert list(islice(Order(shards, seed=1).parts(place), 30)) == after[:30]
    assert list(islice(Order(shards, seed=2).parts(0), 200)) != parts


def test_a_step_reads_its_tokens_packed_up_to_the_longest_document(corpus):
    for step in range(5):
        found = read(corpus, step)
        assert 120 <= sum(map(len, found)) < 150 + 64
        assert all(len(document) <= 64 and not document.images for document in found)


def test_no_text_is_read_twice_in_an_epoch_and_most_are_read(corpus):
    total = sum(path.stat().st_size for path in Path(corpus.paths[0]).iterdir())
    read(corpus, 0)
    (rate,) = (rate for key, rate in datasets._RATES.items() if key[1].shards[0].path.parent == Path(corpus.paths[0]))
    steps = int(total / (datasets.MARGIN * corpus.tokens * rate))
    seen = [number for step in range(steps) for number in numbers(read(corpus, step))]
    assert len(set(seen)) == len(seen)
    assert 300 < len(seen) <= 400


def test_what_a_step_reads_depends_on_seed_and_step_alone(corpus):
    steps = [read(corpus, step) for step in range(8)]
    files.opened.cache_clear()
    assert read(corpus, 6) == steps[6]
    assert read(corpus, 2) == steps[2]
    assert read(corpus, 2, seed=1) != steps[2]
    assert read(replace(corpus, kind="other"), 2) != steps[2]


def test_ranks_read_shares_that_have_nothing_in_common(corpus):
    shares = [[numbers(read(corpus, step, rank=rank, ranks=3)) for step in range(4)] for rank in range(3)]
    everything = [number for share in shares for step in share for number in step]
    assert len(set(everything)) == len(everything)
    assert all(step for share in shares for step in share)


def test_a_loader_that_begins_at_a_step_gives_what_an_uninterrupted_one_gave(corpus):
    plan = Plan((corpus,), 0, 64, 128, 16)
    straight = list(loader(Batches(plan, TOKENIZER), range(6), workers=0))
    files.opened.cache_clear()
    resumed = list(loader(Batches(plan, TOKENIZER), range(3, 6), workers=0))
    for expected, found in zip(straight[3:], resumed, strict=True):
        assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(expected, found, strict=True))


def test_a_dataset_smaller_than_a_step_is_read_again_and_again(tmp_path):
    (tmp_path / "a.txt").write_text("one ring\n\ntwo rings\n\nthree rings\n")
    found = read(Dataset("text", "text", tokens=100, paths=[str(tmp_path / "a.txt")]), 0)
    assert sum(map(len, found)) >= 60


def test_a_step_that_wants_less_than_a_document_reads_one(tmp_path):
    (tmp_path / "cat.png").write_bytes(picture())
    (tmp_path / "a.jsonl").write_text(json.dumps({"image": "cat.png", "caption": "A red cat."}) + "\n")
    dataset = Dataset("pairs", "pairs", tokens=1, paths=[str(tmp_path / "a.jsonl")], images=str(tmp_path))
    assert all(len(read(dataset, step)) == 1 for step in range(30))


def test_pairs_and_pages_become_documents_with_their_images(tmp_path):
    (tmp_path / "cat.png").write_bytes(picture())
    pair = {"image": "cat.png", "caption": "A red cat."}
    page = {"images": [None, "cat.png", None], "texts": ["Look.", None, "A cat."]}
    for name, row in (("pairs", pair), ("obelics", page)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
        dataset = Dataset(name, name, tokens=10, paths=[str(tmp_path / f"{name}.jsonl")], images=str(tmp_path))
        document = read(dataset, 0)[0]
        assert document.images[0].encoded() == picture()
        assert "cat." in TOKENIZER.decode(document.tokens)


def test_what_cannot_be_read_is_skipped_counted_and_named(tmp_path, caplog):
    lines = [json.dumps({"image": f"{number}.png", "caption": f"Cat {number}."}) for number in range(4)]
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, "{broken", "{}"]))
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(picture())
    page = {"images": ["0.png", "gone.png", None], "texts": [None, None, "Both."]}
    (tmp_path / "b.jsonl").write_text(json.dumps(page))
    with caplog.at_level(logging.WARNING, "kosmos_model.data"):
        dataset = Dataset("pairs", "pairs", tokens=200, paths=[str(tmp_path / "a.jsonl")], images=str(tmp_path))
        assert {len(document.images) for document in read(dataset, 0)} == {1}
        (document, *_) = read(
            Dataset("pages", "obelics", 9, paths=[str(tmp_path / "b.jsonl")], images=str(tmp_path)), 0
        )
    assert [image.name for image in document.images] == [str(tmp_path / "0.png")]
    said = [record.getMessage() for record in caplog.records]
    named = [f"{tmp_path}/3.png", "a.jsonl@", "a.jsonl@", f"{tmp_path}/gone.png"]
    assert len(said) == len(named)
    for name in named:
        assert any(name in message for message in said)
    assert sorted(int(message.rpartition("(")[2].split()[0]) for message in said)[-1] >= 4


def test_files_without_anything_usable_say_so(tmp_path):
    (tmp_path / "a.jsonl").write_text("{}\n" * 9)
    with pytest.raises(BadData, match=r"dataset text has no usable row in .*a\.jsonl; the log says what was skipped"):
        read(Dataset("text", "text", tokens=10, paths=[str(tmp_path / "a.jsonl")]), 0)


def test_a_document_whose_image_cannot_be_decoded_counts_nothing_and_is_named(tmp_path, caplog):
    for name, content in (("good.png", picture()), ("torn.png", picture()[:60])):
        (tmp_path / name).write_bytes(content)
    row = {"images": ["good.png", None, "torn.png", None], "texts": [None, "One.", None, "Two."]}
    lines = [row, {"images": ["good.png", None], "texts": [None, "Good."]}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    dataset = Dataset("pages", "obelics", tokens=30, paths=[str(tmp_path / "a.jsonl")], images=str(tmp_path))
    with caplog.at_level(logging.WARNING, "kosmos_model.data"):
        (part,) = Batches(Plan((dataset,), 0, 64, 1000, 16), TOKENIZER)[0]
    assert f"skipped {tmp_path}/torn.png" in caplog.text
    said = [TOKENIZER.decode(tokens.tolist()) for tokens in part.tokens]
    counted = {text: float(weights.sum()) for text, weights in zip(said, part.weights, strict=True)}
    assert counted["One.Two."] == 0.0 < counted["Good."]
    assert len(part.pixels) == 2
