"""Rendered SST-2: prompts, rules of choice, folders of images, sentences drawn by us, and what can be wrong."""

from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest

from kosmos_eval.errors import BadData, BadImage, UnknownName
from kosmos_eval.metrics.choice import Rule
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.source import Source
from kosmos_eval.task import means
from kosmos_tasks.rendered_sst2 import RenderedSST2

QUESTION = "Question: what is the sentiment of the opinion? Answer:"


def pictures(root: Path, split: str = "test") -> Path:
    """OpenAI's folders with two pictures of each label."""
    for label in ("negative", "positive"):
        folder = root / "rendered-sst2" / split / label
        folder.mkdir(parents=True)
        for name in ("1001", "2"):
            PIL.Image.new("RGB", (8, 8), "white").save(folder / f"{name}.png")
    return root


def sentences(root: Path, *, name: str = "test.tsv", text: str = "no fun at all\t0\na gem , truly\t1\n") -> Path:
    """A sentence-level file."""
    folder = root / "sst2" / "sentence_level"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return root


def at(root: Path, split: str | None = None, *, rule: Rule = "sum") -> RenderedSST2:
    return RenderedSST2(Source("data", root, split), rule=rule)


def test_the_zero_shot_prompt_is_the_papers(tmp_path: Path) -> None:
    task = at(pictures(tmp_path))
    image = Image(tmp_path / "rendered-sst2" / "test" / "negative" / "1001.png")
    (request,) = task.requests(task.samples()[0], [])
    assert request == LogLikelihood(Prompt(image, QUESTION), (" negative", " positive"))


def test_glues_copy_is_read_but_for_its_test_sentences_which_have_no_labels(tmp_path: Path) -> None:
    sentences(tmp_path, name="test.tsv", text="index\tsentence\n0\ta gem\n")
    sentences(tmp_path, name="dev.tsv", text="\ufeffsentence\tlabel\r\na gem , truly \t1\r\nno fun \t0\r\n")
    (tmp_path / "sst2" / "sentence_level").rename(tmp_path / "SST-2")
    task = at(tmp_path)
    assert task.split == "valid"
    assert [sample.target for sample in task.samples()] == ["positive", "negative"]


def test_the_one_shot_prompt_shows_an_answered_picture_above(tmp_path: Path) -> None:
    task = at(pictures(pictures(tmp_path), "train"))
    sample, shot = task.samples()[0], task.examples()[3]
    (request,) = task.requests(sample, [shot])
    (shown,), (asked,) = shot.prompt.images, sample.prompt.images
    assert shot.id == "train/positive/2"
    assert request.prompt == Prompt(shown, f"{QUESTION} positive\n", asked, QUESTION)


def test_the_likelier_answer_counts_and_a_tie_is_half_right(tmp_path: Path) -> None:
    task = at(pictures(tmp_path))
    negative, *_, positive = task.samples()
    output = Likelihoods((-2.0, -1.0), (1, 1), (False, True))
    assert task.score(positive, [output]).values == {"accuracy": 1.0}
    assert task.score(negative, [output]).answer == "positive"
    assert task.score(negative, [output]).values == {"accuracy": 0.0}
    tie = Likelihoods((-1.0, -1.0), (1, 1), (False, False))
    assert (task.score(negative, [tie]).values, task.score(negative, [tie]).answer) == (
        {"accuracy": 0.5},
        "negative=positive",
    )


@pytest.mark.parametrize(
    ("rule", "answer"), [("sum", "positive"), ("mean per token", "negative"), ("mean per character", "positive")]
)
def test_rules_weigh_the_length_of_an_answer(tmp_path: Path, rule: Rule, answer: str) -> None:
    task = at(pictures(tmp_path), rule=rule)
    # Sums -3 and -2; per token -1 and -2; per character (both have nine, with the space) as the sums.
    output = Likelihoods((-3.0, -2.0), (3, 1), (False, False))
    assert task.score(task.samples()[0], [output]).answer == answer


def test_the_difference_rule_asks_for_the_answers_alone_too(tmp_path: Path) -> None:
    task = at(pictures(tmp_path), rule="difference")
    sample = task.samples()[0]
    asked, alone = task.requests(sample, [])
    assert (asked.prompt, alone.prompt) == (sample.prompt, Prompt("Answer:"))
    outputs = [Likelihoods((-3.0, -2.0), (1, 1), (False, False)), Likelihoods((-5.0, -1.0), (1, 1), (False, False))]
    assert task.score(sample, outputs).answer == "negative"


def test_chance_is_one_in_two(tmp_path: Path) -> None:
    task = at(pictures(tmp_path))
    samples = task.samples()
    metric = means(samples, [task.score_answer(sample, "positive") for sample in samples])["accuracy"]
    assert (metric.value, metric.chance) == (0.5, 0.5)


def test_sentences_are_drawn_when_looked_at(tmp_path: Path) -> None:
    task = at(sentences(tmp_path))
    first, second = task.samples()
    assert [(sample.id, sample.target) for sample in (first, second)] == [
        ("test/1", "negative"),
        ("test/2", "positive"),
    ]
    pixels = first.prompt.images[0].pixels()
    assert pixels.size == (224, 224)
    assert pixels.getpixel((0, 0)) == (255, 255, 255)
    assert pixels.convert("L").getextrema() == (0, 255)
    assert first.prompt.images != second.prompt.images


def test_sentences_may_hold_unicode_line_breaks_and_tabs(tmp_path: Path) -> None:
    samples = at(sentences(tmp_path, text="a\u2028b\u0085c\t1\nd\te\t0\n")).samples()
    assert [sample.target for sample in samples] == ["positive", "negative"]


def test_a_sentence_that_cannot_be_drawn_is_a_bad_image(tmp_path: Path) -> None:
    samples = at(sentences(tmp_path, text=f"{'x' * 500}\t1\n")).samples()
    with pytest.raises(BadImage, match="a sentence cannot be drawn: a text of 500 characters does not fit"):
        samples[0]


def test_a_part_of_the_training_sentences_will_do_for_demonstrations(tmp_path: Path) -> None:
    task = at(sentences(sentences(tmp_path), name="train_head500.tsv", text="dull\t0\n"))
    assert [shot.id for shot in task.examples()] == ["train/1"]


def test_splits_are_named_alike_for_images_and_sentences(tmp_path: Path) -> None:
    root = sentences(sentences(tmp_path), name="dev.tsv")
    assert at(root).split == "test"
    assert at(root, "valid").samples()[0].id == "valid/1"
    assert [shot.id for shot in at(root, "valid").examples()] == ["valid/1", "valid/2"], "no training file is there"
    with pytest.raises(UnknownName, match="no split of rendered_sst2 is called 'dev'; there are: test, valid"):
        at(root, "dev").samples()


@pytest.mark.parametrize("line", ["no label at all", "a sentence\tgood", "\t1", ""])
def test_a_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(BadData, match=r"line 2 of .*test\.tsv is .*; expected a sentence, a tab and 0 or 1"):
        at(sentences(tmp_path, text=f"fine\t1\n{line}\nalso fine\t0\n")).samples()


def test_empty_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rendered-sst2").mkdir()
    with pytest.raises(BadData, match="is an empty folder"):
        at(tmp_path).samples()
    pictures(tmp_path)
    for file in (tmp_path / "rendered-sst2" / "test" / "positive").iterdir():
        file.unlink()
    with pytest.raises(BadData, match=r"positive has no png images; expected those of the official archive"):
        at(tmp_path).samples()


def test_answers_made_elsewhere_are_one_label_a_line(tmp_path: Path) -> None:
    task = at(sentences(tmp_path))
    file = tmp_path / "answers.txt"
    file.write_text("positive\r\npositive\r\n")
    answers = task.read_answers(file)
    assert answers == {"test/1": "positive", "test/2": "positive"}
    assert [task.score_answer(sample, answers[sample.id]).values["accuracy"] for sample in task.samples()] == [0, 1]
    file.write_text("positive\n")
    with pytest.raises(BadData, match="has 1 lines for 2 samples; expected one label for each, in order"):
        task.read_answers(file)
    with pytest.raises(BadData, match="cannot be read"):
        task.read_answers(tmp_path / "nothing")


def test_the_hub_is_read_in_its_own_columns(mirrored: Callable[..., Source]) -> None:
    import datasets

    encoded = Image.drawn(PIL.Image.new("RGB", (8, 8), "white")).encoded()
    image = {"bytes": encoded, "path": None}
    splits = {
        split: [{"image": image, "label": label} for label in labels]
        for split, labels in {"test": [0, 1], "train": [1]}.items()
    }
    source = mirrored("nateraw/rendered-sst2", splits, label=datasets.ClassLabel(names=["negative", "positive"]))
    task = RenderedSST2(source)
    assert [(sample.id, sample.target) for sample in task.samples()] == [
        ("test/0", "negative"),
        ("test/1", "positive"),
    ]
    assert [(shot.id, shot.target) for shot in task.examples()] == [("train/0", "positive")]
    assert task.samples()[0].prompt.images[0].encoded() == encoded


def test_synthetic_opinions_of_train_and_test_differ() -> None:
    task = RenderedSST2()
    asked, shown = task.samples(), task.examples()
    assert {sample.id for sample in asked}.isdisjoint(shot.id for shot in shown)
    assert {sample.target for sample in asked} == {"negative", "positive"}
    assert asked[0].prompt.text() == f"<image>{QUESTION}"


def test_real_sentences_load_with_their_labels(real_data: Path) -> None:
    task = at(real_data)
    assert (len(task.samples()), len(at(real_data, "valid").samples()), len(task.examples())) == (1821, 872, 500)
    rows = task.samples().rows.with_format(None)  # type: ignore[attr-defined]
    assert (rows[0]["text"], rows[0]["label"]) == ("no movement , no yuks , not much of anything", 0)
    assert sum(rows["label"]) == 909, "as the card of the rendered images says"
    longest = max(range(len(rows)), key=lambda place: len(rows[place]["text"]))
    assert task.samples()[longest].prompt.images[0].pixels().size == (224, 224)
