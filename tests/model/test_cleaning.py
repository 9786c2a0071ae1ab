import io
import json
import random
import struct
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import pytest
from rich.console import Console

from kosmos_eval import registry
from kosmos_eval.errors import BadData, KosmosEvalError, RunError, UnknownName
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.sample import Sample
from kosmos_eval.source import Source
from kosmos_eval.task import Score, Task
from kosmos_model.cleaning import plan as plans
from kosmos_model.cleaning.command import cleaned
from kosmos_model.cleaning.image_stats import KnownImages, image_stats
from kosmos_model.cleaning.plan import Plan
from kosmos_model.cleaning.rules import RULES, Measures, Page
from kosmos_model.data.corpora import obelics, pairs, text
from kosmos_model.data.formats import rows
from kosmos_model.data.shards import shards

ENGLISH = [
    "the",
    "a",
    "of",
    "and",
    "to",
    "in",
    "is",
    "was",
    "that",
    "for",
    "with",
    "on",
    "as",
    "at",
    "by",
    "from",
    "this",
    "which",
    "have",
    "been",
    "house",
    "river",
    "small",
    "old",
]
GERMAN = [
    "der",
    "die",
    "das",
    "und",
    "zu",
    "in",
    "ist",
    "war",
    "dass",
    "mit",
    "auf",
    "als",
    "bei",
    "von",
    "dieses",
    "welche",
    "haben",
    "sind",
    "haus",
    "fluss",
    "klein",
    "alt",
]
QUESTION = "which of the seven lighthouses on the northern coast was painted green before the great storm of that year"


def prose(seed, words=ENGLISH, length=60):
    rng = random.Random(seed)
    return " ".join(rng.choice(words) + ("." if index % 9 == 8 else "") for index in range(length))


def drawing(seed, size=(96, 80), form="PNG"):
    """A picture of a few rectangles, the same for the same seed at every size."""
    rng = random.Random(seed)
    canvas = PIL.Image.new("RGB", (400, 400), rng.choice(("white", "navy", "gold")))
    pen = PIL.ImageDraw.Draw(canvas)
    for _ in range(9):
        x, y = rng.randrange(300), rng.randrange(300)
        pen.rectangle(
            (x, y, x + rng.randrange(40, 100), y + rng.randrange(40, 100)), f"hsl({rng.randrange(360)},80%,50%)"
        )
    stored = io.BytesIO()
    canvas.resize(size).save(stored, form)
    return stored.getvalue()


def one_color():
    stored = io.BytesIO()
    PIL.Image.new("RGB", (99, 99), (90, 120, 30)).save(stored, "JPEG")
    return stored.getvalue()


@dataclass(frozen=True)
class Lighthouses(Task):
    source: Source = Source()

    def samples(self):
        return [Sample("1", Prompt(Image(drawing("asked")), "Question: ", QUESTION, "? Answer:"), target="the third")]

    def examples(self):
        return []

    def requests(self, sample, shots):
        return []

    def score(self, sample, outputs):
        return Score()


@pytest.fixture(scope="module", autouse=True)
def _lighthouses():
    registry.TASKS["lighthouses"] = Lighthouses
    yield
    del registry.TASKS["lighthouses"]


@pytest.fixture(scope="module")
def crawl(tmp_path_factory):
    """A small corpus of each kind, in which every rule finds something, and the plan that cleans it."""
    tmp_path = tmp_path_factory.mktemp("crawl")
    near = prose(1).split()
    near[-1] = "hill"
    texts = [prose(1), prose(2), prose(3), " ".join(near), prose(4, GERMAN), f"{prose(5)} {QUESTION}"]
    texts.append("buy #now #cheap https://shop.example \U0001f525\U0001f525 www.sale.example " + prose(6, length=12))
    lines = [json.dumps({"text": text, "meta": {}}) for text in texts] + ["{broken"]
    (tmp_path / "text.jsonl").write_text("\n".join(lines))
    captioned = {
        "good": (drawing(1), "A boat."),
        "tagged": (drawing(2), "A photo of <PERSON> in town."),
        "small": (drawing(3, (63, 200)), "A small boat."),
        "plain": (one_color(), "A wall."),
        "copy": (drawing("asked", (250, 210), "JPEG"), "A lighthouse."),
        "torn": (drawing(4)[:200], "A torn boat."),
    }
    with tarfile.open(tmp_path / "00000.tar", "w") as archive:
        for key, (image, caption) in captioned.items():
            for ending, content in (("png", image), ("txt", caption.encode())):
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    for number in range(8):
        (tmp_path / f"{number}.png").write_bytes(drawing(f"page {number}"))
    pages = [page(10, [0, 1]), page(11, [2, 3, 4, 5, 6, 7]), page(12, []), page(10, [2, 3]), page(13, ["gone", 4])]
    pages += [page(20 + number, [number % 8]) for number in range(40)]
    (tmp_path / "pages.jsonl").write_text("\n".join(map(json.dumps, pages)))
    (tmp_path / "plan.toml").write_text(PLAN.format(folder=tmp_path))
    return plans.read(tmp_path / "plan.toml")


PLAN = """
against = ["lighthouses"]
tasks = 3
[corpora.books]
source = "text"
paths = ["{folder}/text.jsonl"]
[corpora.captions]
source = "pairs"
paths = ["{folder}/*.tar"]
[corpora.pages]
source = "mmc4"
paths = ["{folder}/pages.jsonl"]
images = "{folder}"
"""


def page(seed, images):
    """A document of mmc4 with eight sentences."""
    sentences = [prose(f"{seed}/{number}", length=12) for number in range(8)]
    infos = [{"image_name": f"{name}.png", "matched_text_index": 1 + at} for at, name in enumerate(images)]
    return {"text_list": sentences, "image_info": infos, "url": "http://x", "similarity_matrix": []}


def quiet():
    return Console(file=io.StringIO(), width=120)


@pytest.fixture(scope="module")
def out(crawl):
    """What cleaning makes of it."""
    folder, console = Path(crawl.corpora[2].images) / "out", quiet()
    cleaned(crawl, folder, console=console)
    (folder / "said").write_text(console.file.getvalue())
    return folder


@pytest.fixture(scope="module")
def counts(out):
    return json.loads((out / "counts.json").read_text())


def kept(folder):
    found = shards((str(folder),))
    return [row.values for shard in found for part in range(shard.parts) for row in rows(shard.path, part, shard.parts)]


def test_texts_are_dropped_by_every_rule_and_counted(counts):
    books = counts["books"]
    assert books["dropped"] == {"other language": 0, "spam": 1, "evaluated text": 1, "near-duplicate": 1}
    assert (books["read"], books["skipped"], books["kept"]) == (7, 1, 4)


def test_pairs_are_dropped_by_every_rule_and_counted(counts):
    captions = counts["captions"]
    assert captions["dropped"] == dict.fromkeys(RULES["pairs"], 1) | {"evaluated text": 0}
    assert (captions["read"], captions["skipped"], captions["kept"]) == (6, 1, 1)


def test_pages_lose_images_and_are_dropped_and_counted(counts):
    pages = counts["pages"]
    assert pages["images"] == dict.fromkeys(RULES["interleaved"], 0) | {"unreadable image": 1, "over five images": 1}
    assert pages["dropped"]["no image between text"] == 1
    assert pages["dropped"]["near-duplicate"] == 1
    assert 10 <= pages["dropped"]["single image, half"] <= 31
    assert pages["read"] == 45 == pages["kept"] + sum(pages["dropped"].values())


def test_the_counts_are_shown_and_what_was_skipped_is_named(crawl, out):
    said = (out / "said").read_text()
    assert all(rule in said for rule in (*RULES["pairs"], *RULES["interleaved"], "near-duplicate", "45", "14.3%"))
    named = [
        json.loads(line)["where"] for path in (out / "skipped").iterdir() for line in path.read_text().splitlines()
    ]
    assert len(named) == 3
    assert any("text.jsonl@" in name for name in named)
    assert any("00000.tar" in name or name.startswith("image ") for name in named)
    assert str(Path(crawl.corpora[2].images) / "gone.png") in named


def test_what_is_left_is_read_by_training_as_it_was(crawl, out):
    place = crawl.corpora[0].place
    books = [text(row, place) for row in kept(out / "books")]
    assert prose(2) in books and prose(3) in books and len(books) == 4
    assert [pairs(row, place) for row in kept(out / "captions")] == [Prompt(Image(drawing(1)), "A boat.")]
    pages = [obelics(row, place) for row in kept(out / "pages")]
    assert {len(page.images) for page in pages} == {1, 2, 5}
    assert all(Path(image.source).is_file() for page in pages for image in page.images)


def test_a_plan_that_was_done_is_not_done_again_and_another_is_refused(crawl, out, counts):
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    assert cleaned(replace(crawl, workers=2), out, console=quiet()) == counts
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    with pytest.raises(
        RunError, match=r"was begun with seed 0, but now it is 1; clean with --overwrite or another --out"
    ):
        cleaned(replace(crawl, seed=1), out, console=quiet())


@pytest.mark.parametrize("name", ["books", "work", "skipped", "counts.json"])
def test_what_cleaning_did_not_make_is_neither_removed_nor_written_over(crawl, tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "mine").touch()
    with pytest.raises(RunError, match=f"{name} was not made by 'kosmos-eval clean'; move it away or choose another"):
        cleaned(replace(crawl, corpora=crawl.corpora[:1]), tmp_path, overwrite=True, console=quiet())
    assert (tmp_path / name / "mine").exists()


def test_overwriting_cleans_anew_and_a_start_that_fails_removes_nothing(crawl, tmp_path, monkeypatch):
    books = replace(crawl, corpora=crawl.corpora[:1], against=())
    cleaned(books, tmp_path, console=quiet())
    (tmp_path / "notes.txt").touch()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.setenv("PATH", "")
    for broken, message in (
        (replace(books, against=("vqav3",)), "vqav2"),
        (replace(books, executor="slurm"), "sbatch"),
    ):
        with pytest.raises(KosmosEvalError, match=message):
            cleaned(broken, tmp_path, overwrite=True, console=quiet())
        assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    counts = cleaned(replace(books, seed=1), tmp_path, overwrite=True, console=quiet())
    assert counts is not None and counts["books"]["kept"] == len(kept(tmp_path / "books"))
    assert (tmp_path / "notes.txt").exists()


def test_the_number_of_tasks_changes_nothing_that_is_kept(crawl, out, counts, tmp_path):
    books = replace(crawl, corpora=crawl.corpora[:1], tasks=1)
    assert cleaned(books, tmp_path, console=quiet()) == {"books": counts["books"]}
    assert sorted(row["text"] for row in kept(tmp_path / "books")) == sorted(row["text"] for row in kept(out / "books"))


def judged(kind, rule, prompt, **plan):
    return RULES[kind][rule](Page("id", prompt), Measures(Plan((), **plan)))


@pytest.mark.parametrize("caption", ["<PERSON> at sea", "the <DATE_TIME> train"])
def test_a_caption_with_a_tag_is_dropped(caption):
    assert judged("pairs", "tag in caption", Prompt(caption)) is None


@pytest.mark.parametrize("caption", ["a < b > c", "<b>bold</b>", "A PERSON"])
def test_a_caption_without_a_tag_is_kept(caption):
    assert judged("pairs", "tag in caption", Prompt(caption)) == Prompt(caption)


def test_emoji_hashtags_and_urls_are_counted_against_words():
    nine = "one two three four five six seven eight nine"
    for mark in ("#sale", "https://x.example/a#b", "\U0001f600", "www.x.example"):
        assert judged("text", "spam", Prompt(f"{nine} {mark}")) == Prompt(f"{nine} {mark}")
        assert judged("text", "spam", Prompt(f"{nine} {mark} {mark}")) is None
    assert judged("text", "spam", Prompt("We are #1 & C# is nice &#39;")) is not None


def test_an_image_must_have_text_before_and_after_it():
    picture = Image(b"")
    for prompt in (Prompt("a", picture, "b"), Prompt(picture, "a", picture, "b", picture)):
        assert judged("interleaved", "no image between text", prompt) == prompt
    for prompt in (Prompt("a"), Prompt(picture, "a"), Prompt("a", picture), Prompt(picture, "a", picture)):
        assert judged("interleaved", "no image between text", prompt) is None


def test_a_document_keeps_its_first_five_images():
    pictures = [Image(bytes([number // 2])) for number in range(7)]
    left = judged("interleaved", "over five images", Prompt("a", *pictures, "b"))
    assert left == Prompt("a", *pictures[:5], "b")


def test_half_of_the_documents_with_one_image_are_dropped_by_seed_and_text():
    rule = RULES["interleaved"]["single image, half"]

    def left(seed):
        pages = [Page(str(number), Prompt(f"a {number}", Image(b""), "b")) for number in range(400)]
        return [page.id for page in pages if rule(page, Measures(Plan((), seed=seed)))]

    assert 160 < len(left(0)) < 240
    assert left(0) == left(0) != left(1)
    assert judged("interleaved", "single image, half", Prompt("a", Image(b""), Image(b"2"), "b"))


def test_images_of_one_color_and_small_ones_are_known():
    assert image_stats(Image(one_color())).plain and image_stats(Image(one_color())).side == 99
    seen = image_stats(Image(drawing(1, (63, 200))))
    assert (seen.plain, seen.side) == (False, 63)


def test_a_scaled_and_recompressed_copy_is_found_and_others_are_not():
    asked = [image_stats(Image(drawing(number, (300, 240)))) for number in range(12)]
    known = KnownImages([], [seen.digest for seen in asked if seen.digest is not None])
    copies = [known.has(image_stats(Image(drawing(number, (120, 96), "JPEG")))) for number in range(12)]
    assert sum(copies) >= 11
    assert not any(known.has(image_stats(Image(drawing(number)))) for number in range(100, 140))
    assert KnownImages([asked[0].content], []).has(asked[0])


def fasttext_model(words):
    """The file of a fastText classifier (version 12) for which a text has the language of most of its words."""
    named = sorted({word for said in words.values() for word in said})
    labels = list(words)
    counted = [(word, 0) for word in named] + [(f"__label__{label}", 1) for label in labels]
    settings = (len(labels), 5, 5, 1, 5, 1, 3, 3, 0, 0, 0, 100)  # dim ... loss softmax, model supervised, no buckets
    content = struct.pack("<2i12id", 793712314, 12, *settings, 1e-4)
    content += struct.pack("<3i2q", len(counted), len(named), len(labels), 1000, -1)
    content += b"".join(name.encode() + struct.pack("<xqb", 10, kind) for name, kind in counted)
    vectors = [float(word in words[label]) for word in named for label in labels]
    outputs = [9.0 * (row == column) for row in labels for column in labels]
    for values in (vectors, outputs):
        content += struct.pack(f"<?2q{len(values)}f", False, len(values) // len(labels), len(labels), *values)
    return content


def test_the_language_is_what_a_fasttext_model_says(tmp_path):
    (tmp_path / "lid.bin").write_bytes(fasttext_model({"en": ENGLISH, "de": GERMAN}))
    options = {"language_model": tmp_path / "lid.bin"}
    english, german = Prompt(prose(90).replace(". ", ".\n")), Prompt(prose(91, GERMAN))
    assert judged("text", "other language", english, **options) == english
    assert judged("interleaved", "other language", german, **options) is None
    assert judged("text", "other language", german, language="de", **options) == german
    (tmp_path / "bad.bin").write_bytes(b"no model")
    with pytest.raises(BadData, match=r"bad\.bin is no fastText model"):
        judged("text", "other language", english, language_model=tmp_path / "bad.bin")


def test_slurm_gets_every_stage_after_the_one_before(crawl, tmp_path, monkeypatch):
    sbatch, log = tmp_path / "bin" / "sbatch", tmp_path / "log"
    sbatch.parent.mkdir()
    sbatch.write_text(f'#!/bin/sh\necho "$@" >> {log}\nn=$(wc -l < {log})\necho Submitted batch job $n\n')
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:/usr/bin:/bin")
    options = {"partition": "cpu", "time": "1:00:00"}
    plan = replace(crawl, corpora=crawl.corpora[:1], executor="slurm", options=options)
    console = quiet()
    assert cleaned(plan, tmp_path / "out", console=console) is None
    assert "submitted; the same command prints the counts" in console.file.getvalue()
    launched = [line for line in log.read_text().splitlines() if "RUN_OFFSET" in line]
    assert len(launched) == 6
    assert all("--dependency=afterok:" in line for line in launched[1:])
    script = (tmp_path / "out" / "work" / "logs" / "sift-text" / "launch_script.slurm").read_text()
    assert "--partition=cpu" in script and "--array=0-2" in script


@pytest.mark.parametrize(
    ("plan", "error", "message"),
    [
        ("", KosmosEvalError, r"has no corpus to clean; give it \[corpora.NAME\] with source and paths"),
        ("[corpora.a]\nsource = 'text'", KosmosEvalError, r" lacks corpora.a.paths$"),
        (
            "spam = 2.0\n[corpora.a]\nsource = 'text'\npaths = []",
            KosmosEvalError,
            "has spam = 2.0: Input should be less",
        ),
        ("sed = 1\n[corpora.a]\nsource = 'text'\npaths = []", UnknownName, "'sed'; did you mean 'seed'"),
        ("executor = 'slrum'\n[corpora.a]\nsource = 'text'\npaths = []", UnknownName, "did you mean 'slurm'"),
        ("[corpora.a]\nsource = 'texts'\npaths = []", UnknownName, "did you mean 'text'"),
        ("[corpora.a]\nsource = 'text'\npaths = ['/no/file']", BadData, "/no/file names no file of training data"),
        (
            "language_model = '/no/lid'\n[corpora.a]\nsource = 'text'\npaths = []",
            BadData,
            "language_model /no/lid of .* is not there",
        ),
        (
            "[corpora.'../a']\nsource = 'text'\npaths = []",
            KosmosEvalError,
            r"'\.\./a' is not the name of a folder; expected",
        ),
        ("[corpora.work]\nsource = 'text'\npaths = []", KosmosEvalError, "'work' is not the name of a folder"),
        ("[", KosmosEvalError, "is no TOML"),
    ],
)
def test_a_plan_that_cannot_be_is_named(tmp_path, plan, error, message):
    (tmp_path / "plan.toml").write_text(plan)
    with pytest.raises(error, match=message):
        plans.read(tmp_path / "plan.toml")
