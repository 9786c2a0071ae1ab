"""Raven IQ: prompts, ties, the files of IQ50 and RAVEN and what can be wrong with them."""

import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from kosmos_eval import evaluate
from kosmos_eval.errors import BadData, UnknownName
from kosmos_eval.evaluation.run_folder import load_folder
from kosmos_eval.evaluation.variant import SettingKey
from kosmos_eval.models.scripted import load
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.source import Source
from kosmos_eval.task import means
from kosmos_tasks.raven_iq import RavenIQ, question


def iq50(root: Path, *, queries: int = 3, key: str | None = "c", name: str = "exp-1") -> Path:
    """One puzzle with six candidates; returns the root."""
    folder = root / "raven" / name
    folder.mkdir(parents=True)
    for place in range(1, queries + 1):
        PIL.Image.new("L", (5, 5), place).save(folder / f"query-{place}.png")
    for letter in "abcdef":
        PIL.Image.new("L", (5, 5), ord(letter)).save(folder / f"answer-{letter}.png")
    if key is not None:
        (folder / "answer.txt").write_text(f"{key}\n")
    return root


def raven(root: Path, *, numbers: Sequence[int] = (2, 10), split: str = "test", **arrays: Any) -> Path:
    """RAVEN puzzles whose panel i is of grey i, the right one being number % 8."""
    folder = root / "raven" / "center_single"
    folder.mkdir(parents=True, exist_ok=True)
    image = np.repeat(np.arange(16, dtype=np.uint8), 160 * 160).reshape(16, 160, 160)
    for number in numbers:
        content = {"image": image, "target": np.array(number % 8), **arrays}
        np.savez_compressed(folder / f"RAVEN_{number}_{split}.npz", **content)
    return root


def at(root: Path, split: str | None = None, **options: Any) -> RavenIQ:
    return RavenIQ(Source("data", root, split), **options)


def likelihoods(*logprobs: float) -> Likelihoods:
    return Likelihoods(logprobs, (1,) * len(logprobs), (False,) * len(logprobs))


def grey(image: Image) -> int:
    return image.pixels().getpixel((0, 0))[0]  # type: ignore[index]


@pytest.mark.parametrize(("queries", "number"), [(3, "three"), (4, "four"), (8, "eight")])
def test_the_zero_shot_prompt_is_the_papers_for_every_candidate(tmp_path: Path, queries: int, number: str) -> None:
    task = at(iq50(tmp_path, queries=queries))
    requests = task.requests(task.samples()[0], [])
    folder = tmp_path / "raven" / "exp-1"
    context = [Image(folder / f"query-{place}.png") for place in range(1, queries + 1)]
    assert requests == [
        LogLikelihood(
            Prompt(
                f"Here are {number} images:",
                *context,
                "The following image is:",
                Image(folder / f"answer-{letter}.png"),
                "Is it correct?",
            ),
            (" Yes",),
        )
        for letter in "abcdef"
    ]


def test_the_one_shot_prompt_shows_a_whole_puzzle_with_its_true_yes_or_no(tmp_path: Path) -> None:
    task = at(iq50(iq50(tmp_path), name="exp-2", key="f"))
    sample, shot = task.samples()[0], task.examples()[1]
    first = task.requests(sample, [shot])[0]
    assert shot.target in ("Yes", "No")
    shown = shot.prompt.images[-1]
    assert (Path(shown.name).name == "answer-f.png") == (shot.target == "Yes")
    asked = question(sample.extra["context"], sample.extra["candidates"][0])
    assert first.prompt == Prompt(shot.prompt, f" {shot.target}\n", asked)


def test_demonstrations_say_yes_and_no_alike_and_always_the_truth() -> None:
    task = RavenIQ()
    targets = {puzzle.id: puzzle for puzzle in RavenIQ(Source(split="train")).samples()}
    shots = task.examples()
    counts = Counter(shot.target for shot in shots)
    assert abs(counts["Yes"] - counts["No"]) < 4 * len(shots) ** 0.5 / 2
    for shot in shots[:50]:
        extra = targets[shot.id].extra
        assert (shot.prompt.images[-1] == extra["candidates"][extra["target"]]) == (shot.target == "Yes")


def test_the_likeliest_yes_is_the_answer_and_ties_share_the_credit(tmp_path: Path) -> None:
    task = at(iq50(tmp_path))
    sample = task.samples()[0]
    assert (sample.target, sample.extra["target"]) == ("3", 2)
    won = task.score(sample, [likelihoods(value) for value in (-3, -2, -1, -2, -3, -4)])
    assert (won.values, won.answer) == ({"accuracy": 1.0}, "3")
    tied = task.score(sample, [likelihoods(value) for value in (-1, -2, -1, -2, -3, -4)])
    assert (tied.values, tied.answer) == ({"accuracy": 0.5}, "1=3")
    blind = task.score(sample, [likelihoods(-1)] * 6)
    assert blind.values == {"accuracy": pytest.approx(1 / 6)}


def test_the_difference_rule_takes_away_the_readiness_to_speak(tmp_path: Path) -> None:
    task = at(iq50(tmp_path), rule="yes_minus_no")
    sample = task.samples()[0]
    (request, *_) = task.requests(sample, [])
    assert request.continuations == (" Yes", " No")
    # Candidate 1 has the most probable Yes, but an even more probable No.
    outputs = [likelihoods(-1, -0.5), *(likelihoods(-2, -1) for _ in range(5))]
    outputs[2] = likelihoods(-2, -4)
    assert task.score(sample, outputs).answer == "3"


def test_chance_and_the_binomial_p_value_stand_beside_the_accuracy(tmp_path: Path) -> None:
    for number in range(1, 5):
        iq50(tmp_path, name=f"exp-{number}")
    task = at(tmp_path)
    samples = task.samples()
    right = [likelihoods(value) for value in (-3, -2, -1, -2, -3, -4)]
    metric = means(samples, [task.score(sample, right) for sample in samples])["accuracy"]
    assert (metric.value, metric.n, metric.chance) == (1.0, 4, pytest.approx(1 / 6))
    assert metric.p_value == pytest.approx((1 / 6) ** 4)


def test_answers_made_elsewhere_are_numbers_of_candidates(tmp_path: Path) -> None:
    task = at(iq50(iq50(tmp_path), name="exp-2"))
    file = tmp_path / "answers.txt"
    file.write_text("3\n1\n")
    assert task.read_answers(file) == {"exp-1": "3", "exp-2": "1"}
    assert [
        task.score_answer(sample, task.read_answers(file)[sample.id]).values["accuracy"] for sample in task.samples()
    ] == [1, 0]
    file.write_text("3\nc\n")
    with pytest.raises(BadData, match=r"line 2 of .* is 'c'; expected one of 1, 2, 3, 4, 5, 6"):
        task.read_answers(file)


def test_puzzles_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        iq50(tmp_path, name=f"exp-{number}")
    assert [sample.id for sample in at(tmp_path).samples()] == ["exp-1", "exp-2", "exp-10"]


def test_the_key_may_be_one_file_for_all(tmp_path: Path) -> None:
    root = iq50(tmp_path, key=None)
    (root / "raven" / "answers.json").write_text(json.dumps({"exp-1": "B"}))
    assert at(root).samples()[0].target == "2"


def test_a_puzzle_without_a_valid_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"exp-1 has no key .*; expected the right letter in .*answer\.txt"):
        at(iq50(tmp_path / "none", key=None)).samples()
    with pytest.raises(BadData, match=r"the key of .*exp-1 is 'g'; expected one of a, b, c, d, e, f"):
        at(iq50(tmp_path / "wrong", key="g")).samples()


@pytest.mark.parametrize("missing", ["query-2.png", "answer-c.png"])
def test_a_puzzle_with_an_image_left_out_is_refused(tmp_path: Path, missing: str) -> None:
    (iq50(tmp_path) / "raven" / "exp-1" / missing).unlink()
    with pytest.raises(BadData, match="exp-1 is not a whole puzzle"):
        at(tmp_path).samples()


def test_raven_panels_are_eight_to_see_and_eight_to_choose_from(tmp_path: Path) -> None:
    task = at(raven(tmp_path))
    first, second = task.samples()
    assert (first.id, second.id) == ("center_single/RAVEN_2_test", "center_single/RAVEN_10_test")
    assert (first.extra["target"], first.target, first.kind) == (2, "3", "center_single")
    assert [grey(image) for image in first.extra["context"]] == list(range(8))
    assert [grey(image) for image in first.extra["candidates"]] == list(range(8, 16))
    assert first.prompt.text() == "Here are eight images:" + 8 * "<image>"


def test_panels_of_another_size_are_read_as_they_are(tmp_path: Path) -> None:
    image = np.repeat(np.arange(16, dtype=np.uint8), 80 * 80).reshape(16, 80, 80)
    (sample,) = at(raven(tmp_path, numbers=(2,), image=image)).samples()
    assert [grey(image) for image in sample.extra["context"]] == list(range(8))
    assert {image.size for image in sample.extra["candidates"]} == {(80, 80)}


def test_the_archive_may_lie_beside_the_papers_puzzles(tmp_path: Path) -> None:
    folder = raven(tmp_path) / "raven"
    (folder / "RAVEN-10000").mkdir()
    (folder / "center_single").rename(folder / "RAVEN-10000" / "center_single")
    (iq50(tmp_path) / "raven" / "exp-1").rename(folder / "moved")
    (folder / "kosmos-iq50").mkdir()
    (folder / "moved").rename(folder / "kosmos-iq50" / "exp-1")
    assert [sample.id for sample in at(tmp_path).samples()] == ["exp-1"]
    assert [sample.id for sample in at(tmp_path, "test").samples()] == [
        "center_single/RAVEN_2_test",
        "center_single/RAVEN_10_test",
    ]


def test_raven_demonstrations_come_from_its_training_split(tmp_path: Path) -> None:
    root = raven(tmp_path, numbers=(1,))
    assert [shot.id for shot in at(root).examples()] == ["center_single/RAVEN_1_test"]
    raven(tmp_path, numbers=(5,), split="train")
    assert [shot.id for shot in at(root).examples()] == ["center_single/RAVEN_5_train"]


def test_a_configuration_can_be_chosen_and_must_exist(tmp_path: Path) -> None:
    root = raven(tmp_path)
    assert len(at(root, configuration="center_single").samples()) == 2
    with pytest.raises(BadData, match="has no configuration 'up_down' with puzzles of split 'test'"):
        at(root, configuration="up_down").samples()


@pytest.mark.parametrize("broken", ["cut", "fifteen", "flat", "key", "pickled"])
def test_a_broken_npz_fails_its_own_puzzle_and_is_named(tmp_path: Path, broken: str) -> None:
    changed: dict[str, Any] = {
        "cut": {},
        "fifteen": {"image": np.zeros((15, 160, 160), np.uint8)},
        "flat": {"image": np.zeros(16 * 160 * 160, np.uint8)},
        "key": {"target": np.array(8)},
        "pickled": {"target": np.array({"a": 1}, dtype=object)},
    }[broken]
    root = raven(tmp_path, numbers=(2, 8))
    raven(tmp_path, numbers=(8,), **changed)
    file = root / "raven" / "center_single" / "RAVEN_8_test.npz"
    if broken == "cut":
        file.write_bytes(file.read_bytes()[:500])
    report = evaluate(load("yes"), {"raven_iq": at(root)}, out=tmp_path / "run")
    assert (report.rows[0].n, report.failed) == (1, 1)
    record = load_folder(tmp_path / "run")[1].record(SettingKey("raven_iq"), "center_single/RAVEN_8_test")
    assert record is not None and record.error is not None
    assert "RAVEN_8_test.npz cannot be decoded" in record.error


def test_the_papers_puzzles_come_first_and_unknown_splits_are_listed(tmp_path: Path) -> None:
    root = raven(iq50(tmp_path))
    assert at(root).split == "iq50"
    assert at(root, "test").split == "test"
    with pytest.raises(UnknownName, match="no split of raven_iq is called 'dev'; there are: iq50, test"):
        at(root, "dev").samples()


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raven").mkdir()
    with pytest.raises(BadData, match="is an empty folder"):
        at(tmp_path).samples()


def test_the_hub_is_read_in_its_own_columns(mirrored: Callable[..., Source], monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    buffer = io.BytesIO()
    PIL.Image.new("L", (160, 160), 7).save(buffer, "PNG")
    cells = [{"bytes": buffer.getvalue(), "path": None}] * 8
    row = {"panels": cells, "choices": cells, "target": 3, "id": 11, "metadata": "<Data/>"}
    panels = datasets.List(datasets.Image())
    for name in ("center_single", "distribute_four"):
        source = mirrored("HuggingFaceM4/RAVEN", {"test": [row]}, name, panels=panels, choices=panels)
    task = RavenIQ(source, configuration="distribute_four")
    (sample,) = task.samples()
    assert (sample.id, sample.target, sample.kind) == ("distribute_four/11", "4", "distribute_four")
    assert grey(sample.extra["candidates"][7]) == 7
    monkeypatch.setattr("kosmos_tasks.formats.raven.CONFIGURATIONS", ("center_single", "distribute_four"))
    assert [sample.kind for sample in RavenIQ(source).samples()] == [
        "center_single",
        "distribute_four",
    ]


def test_real_puzzles_have_the_targets_of_their_files(real_data: Path) -> None:
    task = at(real_data, "test")
    samples = task.samples()
    assert {sample.id: sample.target for sample in samples} == {
        "center_single/RAVEN_18_test": "5",
        "center_single/RAVEN_19_test": "8",
        "center_single/RAVEN_28_test": "3",
    }
    assert len(task.examples()) == 5
    for sample in samples:
        assert {image.pixels().size for image in sample.extra["context"] + sample.extra["candidates"]} == {(160, 160)}
        assert len(set(sample.extra["candidates"])) == 8
