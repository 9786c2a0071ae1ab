"""A task in other variants: without its own images, with other prompts, with other demonstrations."""

import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import PIL.Image
import pytest

from kosmos_eval import Completion, Generate, Image, Likelihoods, LogLikelihood, Prompt, Sample, Score, few_shot
from kosmos_eval.analysis.saved_run import open_run
from kosmos_eval.errors import BadImage, KosmosEvalError, ModelError
from kosmos_eval.evaluation.ablation import GREY, blank, exchanged
from kosmos_eval.evaluation.evaluator import build_requests, evaluate, evaluate_settings
from kosmos_eval.evaluation.plan import plan
from kosmos_eval.evaluation.run_folder import RunFolder
from kosmos_eval.evaluation.variant import Variants
from kosmos_eval.metrics.choice import best, credit
from kosmos_eval.model import Model
from kosmos_eval.task import Task


def picture(number, size=(4, 3)):
    return Image.drawn(PIL.Image.new("RGB", size, (number, 0, 0)))


def seen(image):
    return image.pixels().getpixel((0, 0))[0]


@dataclass(frozen=True)
class Numbers(Task):
    """Which number is the red of this picture?"""

    count: int = 12
    prompt: str = "paper"
    prompt_variants: ClassVar[Mapping[str, str]] = {"paper": "Number:", "short": "?"}

    def samples(self):
        return [self.sample(number) for number in range(self.count)]

    def examples(self):
        return [self.sample(number) for number in range(100, 120)]

    def sample(self, number):
        asked = Prompt(picture(number, (4 + number % 2, 3)), self.prompt_variants[self.prompt])
        return Sample(f"s{number}", asked, str(number), (str(number),), group=f"g{number // 2}")

    def requests(self, sample, shots):
        return [Generate(few_shot(sample, shots))]

    def score(self, sample, outputs):
        return Score({"accuracy": float(outputs[0].text == sample.target)}, outputs[0].text)


@dataclass
class Sees(Model):
    """Reads the last picture, and remembers its prompts; guesses 0 where there is none."""

    name: str = "sees"
    fingerprint: str = "0"
    asked: list[Prompt] = field(default_factory=list)

    def fits(self, request):
        return True

    def answers(self, requests):
        for index, request in enumerate(requests):
            self.asked.append(request.prompt)
            images = request.prompt.images
            if isinstance(request, LogLikelihood):
                yield index, Likelihoods((0.0 if seen(images[-1]) == seen(images[0]) else -1.0,), (1,), (True,))
            else:
                yield index, Completion(str(seen(images[-1])) if images else "0")


def run_of(task, variants, *, shots=(0,), run=None, limit=None, model=None):
    model, run = model or Sees(), RunFolder() if run is None else run
    settings = plan({"toy": task}, shots=shots, limit=limit, variants=variants)
    return model, [report for _, report in evaluate_settings(model, settings, run)][-1]


def test_blank_images_are_grey_and_of_the_same_size_in_demonstrations_too():
    model, report = run_of(Numbers(), Variants(images="blank"), shots=(2,))
    for prompt in model.asked:
        assert [image.pixels().getpixel((1, 1)) for image in prompt.images] == [GREY] * 3
    assert {image.pixels().size for prompt in model.asked for image in prompt.images} == {(4, 3), (5, 3)}
    assert {row.variant for row in report.rows} == {"images=blank"}
    assert report.score("toy", shots=2, variant="images=blank") == 0


def test_text_and_places_of_images_stay_as_they_were():
    usual, _ = run_of(Numbers(), Variants(), shots=(2,))
    for images in ("blank", "shuffled"):
        model, _ = run_of(Numbers(), Variants(images=images), shots=(2,))
        assert [prompt.text() for prompt in model.asked] == [prompt.text() for prompt in usual.asked]


def test_none_leaves_the_words_alone():
    model, _ = run_of(Numbers(), Variants(images="none"), shots=(1,))
    assert all(not prompt.images for prompt in model.asked)
    assert all(prompt.text().endswith("\nNumber:") for prompt in model.asked)


def test_a_shuffled_question_shows_a_picture_of_another_group_and_demonstrations_keep_theirs():
    usual, _ = run_of(Numbers(), Variants(), shots=(2,))
    model, report = run_of(Numbers(), Variants(images="shuffled"), shots=(2,))
    assert [prompt.images[:2] for prompt in model.asked] == [prompt.images[:2] for prompt in usual.asked]
    pairs = [(seen(own.images[2]), seen(other.images[2])) for own, other in zip(usual.asked, model.asked, strict=True)]
    assert all(own // 2 != other // 2 and other < 12 for own, other in pairs)
    assert len({other for _, other in pairs}) > 4
    assert report.score("toy", shots=2, variant="images=shuffled") == 0


def test_a_limit_changes_no_exchange():
    every, _ = run_of(Numbers(), Variants(images="shuffled"))
    few, _ = run_of(Numbers(), Variants(images="shuffled"), limit=3)
    assert len(few.asked) == 3
    assert set(few.asked) <= set(every.asked)


def test_a_task_of_one_picture_cannot_be_shuffled():
    with pytest.raises(KosmosEvalError, match="toy: no other of the 2 samples has images that s0 could be shown"):
        run_of(Numbers(2), Variants(images="shuffled"))


def test_a_whole_puzzle_is_exchanged_so_that_solving_it_is_chance():
    @dataclass(frozen=True)
    class Puzzle(Task):
        """Which of four candidates is like the context? A puzzle's pictures are numbered, the right one is n % 4."""

        def samples(self):
            return [
                Sample(f"p{n}", Prompt(picture(n)), str(n % 4), choices=tuple("0123"), group=str(n)) for n in range(200)
            ]

        def examples(self):
            return ()

        def requests(self, sample, shots):
            number = int(sample.id[1:])
            candidates = [picture(number if place == number % 4 else 255 - number) for place in range(4)]
            return [LogLikelihood(Prompt(picture(number), "?", candidate), (" Yes",)) for candidate in candidates]

        def score(self, sample, outputs):
            return Score({"accuracy": credit([o.logprobs[0] for o in outputs], [int(sample.target)])})

    _, report = run_of(Puzzle(), Variants())
    assert report.score("toy") == 100
    _, report = run_of(Puzzle(), Variants(images="shuffled"))
    (row,) = report.rows
    assert row.chance == 25 and row.low < 25 < row.high
    (setting,) = plan({"toy": Puzzle()}, variants=Variants(images="shuffled"))
    for sample in setting.samples:
        prompts = [request.prompt for request in setting.requests(sample, ())]
        assert len({prompt.images[0] for prompt in prompts}) == 1
        assert len(best([seen(prompt.images[0]) == seen(prompt.images[1]) for prompt in prompts])) == 1


def test_candidates_that_look_alike_are_asked_once_and_tie_exactly():
    @dataclass(frozen=True)
    class Shapes(Numbers):
        def requests(self, sample, shots):
            pictures = [picture(place) for place in range(4)]
            return [LogLikelihood(Prompt(candidate, "Is it?"), (" Yes",)) for candidate in pictures]

        def score(self, sample, outputs):
            return Score({"accuracy": credit([o.logprobs[0] for o in outputs], [0])})

    @dataclass
    class Drifts(Sees):
        """Every answer is a little lower than the one before, as sums in another order are."""

        def answers(self, requests):
            for index, request in enumerate(requests):
                self.asked.append(request.prompt)
                yield index, Likelihoods((-1.0 - 1e-5 * len(self.asked),), (1,), (True,))

    model, report = run_of(Shapes(3), Variants(images="blank"), model=Drifts())
    assert len(model.asked) == 1
    assert report.score("toy", variant="images=blank") == 25


def test_images_of_another_sample_with_fewer_are_repeated():
    def asks(*numbers):
        return [Generate(Prompt("a", *map(picture, numbers), "b"))]

    (found,) = exchanged(asks(9, 1, 2, 3), asks(1, 2, 3), asks(4, 5))
    assert [seen(image) for image in found.prompt.images] == [9, 4, 5, 4]
    (found,) = exchanged(asks(1), asks(1), [])
    assert found.prompt.images == (blank(picture(1)),)


def test_a_broken_image_fails_its_sample_whatever_stands_for_it(tmp_path):
    (tmp_path / "cut.png").write_bytes(picture(1).encoded()[:40])
    with pytest.raises(BadImage, match=r"cut\.png"):
        blank(Image(tmp_path / "cut.png"))


def test_later_stages_are_blind_too():
    @dataclass(frozen=True)
    class Staged(Numbers):
        def follow_up(self, sample, shots, outputs):
            return [Generate(few_shot(sample, shots) + outputs[0].text)] if len(outputs) < 2 else []

    for images, expected in (("blank", {GREY[0]}), ("shuffled", set(range(12)))):
        model, _ = run_of(Staged(), Variants(images=images))
        half = len(model.asked) // 2
        first, second = model.asked[:half], model.asked[half:]
        assert [prompt.images for prompt in second] == [prompt.images for prompt in first]
        assert {seen(prompt.images[0]) for prompt in second} <= expected


def test_with_blind_asks_both_side_by_side_and_text_alone_only_once():
    _, report = run_of(Numbers(), Variants(with_blind=True), shots=(0, 1))
    assert [(row.shots, row.variant, row.score) for row in report.rows] == [
        (0, "", 100),
        (0, "images=blank", 0),
        (1, "", 100),
        (1, "images=blank", 0),
    ]

    @dataclass(frozen=True)
    class Words(Numbers):
        def requests(self, sample, shots):
            return [Generate(Prompt("2 * 0 ="))]

    _, report = run_of(Words(), Variants(with_blind=True))
    assert [row.variant for row in report.rows] == [""]
    with pytest.raises(KosmosEvalError, match="toy shows no images; evaluate it without --images blank"):
        run_of(Words(), Variants(images="blank"))


def test_with_blind_and_other_images_do_not_go_together():
    with pytest.raises(KosmosEvalError, match="leave out --images none"):
        Variants(images="none", with_blind=True)


def test_all_prompts_are_asked_and_summed_up_and_the_usual_one_has_no_name():
    model, report = run_of(Numbers(), Variants(prompts=("all",)))
    assert [row.variant for row in report.rows] == ["", "prompt=short", "prompts=2"]
    assert Counter(prompt.text() for prompt in model.asked) == {"<image>Number:": 12, "<image>?": 12}
    assert (report.rows[-1].score, report.rows[-1].spread) == (100, 0)


def test_prompts_can_be_named_and_an_unknown_name_says_which_there_are():
    model, report = run_of(Numbers(), Variants(prompts=("short",)))
    assert {prompt.text() for prompt in model.asked} == {"<image>?"}
    assert [row.variant for row in report.rows] == ["prompt=short"]
    with pytest.raises(KosmosEvalError, match="no prompt of toy is called 'shrot'; did you mean 'short'"):
        run_of(Numbers(), Variants(prompts=("shrot",)))
    _, report = run_of(Numbers(prompt="short"), Variants(prompts=("all",)))
    assert [row.variant for row in report.rows] == ["prompt=paper", "", "prompts=2"]


def test_seeds_draw_other_demonstrations_for_the_same_samples_and_zero_shot_is_asked_once():
    model, report = run_of(Numbers(), Variants(seeds=3), shots=(0, 2), limit=5)
    assert [(row.shots, row.variant) for row in report.rows] == [
        (0, ""),
        (2, ""),
        (2, "seed=1"),
        (2, "seed=2"),
        (2, "seeds=3"),
    ]
    draws = [model.asked[place : place + 5] for place in range(5, 20, 5)]
    assert {tuple(prompt.images[-1] for prompt in draw) for draw in draws} == {tuple(p.images[-1] for p in draws[0])}
    assert len({tuple(prompt.images[:-1] for prompt in draw) for draw in draws}) == 3
    alone, _ = run_of(Numbers(), Variants(), shots=(2,), limit=5)
    assert alone.asked == draws[0]


def test_a_task_that_chooses_its_own_demonstrations_is_drawn_once():
    @dataclass(frozen=True)
    class Own(Numbers):
        def choose_shots(self, sample, count):
            return self.examples()[:count]

    _, report = run_of(Own(), Variants(seeds=3), shots=(1,))
    assert [row.variant for row in report.rows] == [""]


def test_a_finished_variant_is_not_asked_again_and_the_usual_way_is_not_taken_for_it():
    run = RunFolder()
    run_of(Numbers(), Variants(), run=run)
    model, _ = run_of(Numbers(), Variants(with_blind=True), run=run)
    assert {seen(prompt.images[0]) for prompt in model.asked} == {GREY[0]}
    model, report = run_of(Numbers(), Variants(with_blind=True), run=run)
    assert not model.asked and len(report.rows) == 2


def test_no_image_is_opened_before_its_sample_is_asked(tmp_path):
    @dataclass(frozen=True)
    class Missing(Numbers):
        def sample(self, number):
            return Sample(f"s{number}", Prompt(Image(tmp_path / f"{number}.png"), "?"), "")

    (setting,) = plan({"toy": Missing()}, variants=Variants(images="blank"))
    with pytest.raises(BadImage):
        build_requests(setting, setting.samples[0])


FILE = '''
import PIL.Image
from dataclasses import dataclass
from kosmos_eval import Generate, Image, Prompt, Sample, Score, Source, Task, few_shot, register

@register("reds")
@dataclass(frozen=True)
class Reds(Task):
    """Reds."""
    source: Source = Source()
    prompt: str = "long"
    prompt_variants = {"long": "Colour:", "short": "?"}

    def samples(self):
        return [self.sample(n) for n in range(6)]

    def examples(self):
        return [self.sample(n) for n in range(6, 12)]

    def sample(self, n):
        picture = Image.drawn(PIL.Image.new("RGB", (3, 3), (n, 0, 0)))
        return Sample(str(n), Prompt(picture, self.prompt_variants[self.prompt]), "red", ("red",))

    def requests(self, sample, shots):
        return [Generate(few_shot(sample, shots))]

    def score(self, sample, outputs):
        return Score({"accuracy": float(outputs[0].text == sample.target)}, outputs[0].text)
'''


def command(monkeypatch, capsys, *args):
    from kosmos_eval.cli.app import main

    monkeypatch.setattr(sys, "argv", ["kosmos-eval", *map(str, args)])
    with pytest.raises(SystemExit) as left:
        main()
    said = capsys.readouterr()
    return left.value.code or 0, said.out, said.err


def test_the_command_line_asks_in_every_way_and_its_folder_opens_again(tmp_path, monkeypatch, capsys):
    (tmp_path / "reds.py").write_text(FILE)
    variants = ("--with-blind", "--prompts", "all", "--seeds", 2, "--shots", "0,1", "--no-html")
    asked = (
        "run",
        "--task-file",
        tmp_path / "reds.py",
        "--model",
        "scripted:red",
        *variants,
        "--out",
        tmp_path / "run",
    )
    code, out, err = command(monkeypatch, capsys, *asked)
    assert code == 0, err
    assert "mean of 2 prompts" in out and "mean of 2 seeds" in out and "blind" in out
    saved = open_run(tmp_path / "run")
    assert [str(setting.key.variant) for setting in saved.settings if setting.key.shots == 0] == [
        "",
        "images=blank",
        "prompt=short",
        "images=blank,prompt=short",
    ]
    assert len([setting for setting in saved.settings if setting.key.shots == 1]) == 8
    assert saved.report.csv() == (tmp_path / "run" / "scores.csv").read_text()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"]["variants"]["seeds"] == 2
    lines = (tmp_path / "run" / "samples.jsonl").read_text()
    assert command(monkeypatch, capsys, *asked)[0] == 0
    assert (tmp_path / "run" / "samples.jsonl").read_text() == lines
    code, _, err = command(monkeypatch, capsys, *asked[:-3], "--images", "blank", *asked[-2:])
    assert code == 2 and "leave out --images blank" in err
    code, out, _ = command(monkeypatch, capsys, "compare", tmp_path / "run", tmp_path / "run")
    assert code == 0 and "images=blank" in out


def test_the_library_asks_in_every_way_that_the_command_line_does():
    report = evaluate(
        Sees(), {"toy": Numbers(4)}, shots=(0, 1), variants=Variants(with_blind=True, prompts=("all",), seeds=2)
    )
    variants = {row.variant for row in report.rows if row.shots == 1}
    assert {"", "images=blank", "prompt=short", "seed=1", "images=blank,prompt=short,seed=1", "seeds=2"} <= variants
    (only,) = evaluate(Sees(), {"toy": Numbers(4)}, variants=Variants(images="shuffled")).rows
    assert only.variant == "images=shuffled"


def test_the_library_refuses_to_ask_a_model_without_the_images_it_needs(tmp_path):
    class Needs(Sees):
        requires_images = True

    with pytest.raises(ModelError, match="sees reads no prompt without an image; ask with --images blank"):
        evaluate(Needs(), {"toy": Numbers(4)}, variants=Variants(images="none"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert evaluate(Needs(), {"toy": Numbers(4)}, variants=Variants(images="blank")).rows
