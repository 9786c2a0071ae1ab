"""RICES: which demonstrations are nearest, what is never shown, and what is kept on disk."""

from dataclasses import dataclass, field

import numpy as np
import PIL.Image
import pytest

from kosmos_eval import Completion, Generate, Image, Prompt, Sample, Score, evaluate, few_shot
from kosmos_eval.errors import BadImage, KosmosEvalError, ModelError, RunError, UnknownName
from kosmos_eval.evaluation.run_config import load_manifest
from kosmos_eval.evaluation.setup import load_shots
from kosmos_eval.fewshot.embeddings import Embeddings
from kosmos_eval.fewshot.retrieval import RicesShots
from kosmos_eval.fewshot.selection import Shots
from kosmos_eval.hook import EvalHook
from kosmos_eval.model import Model
from kosmos_eval.task import Task


def grey(level, side=2):
    return Image.drawn(PIL.Image.new("RGB", (side, side), (level, 255 - level, 0)))


@dataclass
class Levels:
    """The colour of the first pixel: near levels are near vectors. It counts what it embeds."""

    name: str = "levels"
    fingerprint: str = "a" * 64
    asked: list[str] = field(default_factory=list)

    def vectors(self, images):
        self.asked += [image.digest for image in images]
        return [self.vector(image) for image in images]

    def vector(self, image):
        try:
            return np.array(image.pixels().getpixel((0, 0)), dtype=np.float32)
        except BadImage as error:
            return error


POOL = [Sample(f"p{level}", Prompt(grey(level), "?"), str(level)) for level in (10, 200, 90, 60, 120)]


@pytest.fixture
def chosen(tmp_path):
    encoder = Levels()
    return RicesShots(encoder, embeddings=Embeddings(encoder, tmp_path))


def drawn(chosen, sample, count, pool=POOL):
    return [shot.id for shot in chosen.draw(sample, pool, count, seed=0, task="toy")]


def test_the_most_similar_stands_last(chosen):
    asked = Sample("q", Prompt(grey(100), "?"))
    assert drawn(chosen, asked, 3) == ["p60", "p120", "p90"]
    assert drawn(chosen, asked, 1) == ["p90"]
    assert drawn(chosen, asked, 0) == []


def test_a_sample_its_group_and_its_image_under_another_name_are_never_shown(chosen):
    pool = [
        Sample("q", Prompt(grey(100, 3), "?")),
        Sample("same group", Prompt(grey(101), "?"), group="g"),
        Sample("same image", Prompt(grey(100), "another question")),
        *POOL,
    ]
    assert drawn(chosen, Sample("q", Prompt(grey(100), "?"), group="g"), 2, pool) == ["p120", "p90"]


def test_the_first_of_equals_is_the_nearest_and_a_smaller_count_is_the_end_of_a_larger_one(chosen, monkeypatch):
    monkeypatch.setattr("kosmos_eval.fewshot.retrieval.FIRST", 4)
    pool = [Sample(f"{level}/{copy}", Prompt(grey(level, copy + 1), "?")) for level in (50, 99) for copy in range(20)]
    asked = Sample("q", Prompt(grey(100), "?"))
    most = drawn(chosen, asked, 30, pool)
    assert most[-1] == "99/0" and most[10] == "99/19" and most[9] == "50/0"
    assert drawn(chosen, asked, 4, pool) == most[-4:]


def test_several_images_count_by_their_mean(chosen):
    asked = Sample("q", Prompt(grey(20), "and", grey(100), "?"))
    assert drawn(chosen, asked, 1) == ["p60"]


def test_a_demonstration_that_does_not_decode_is_passed_over_and_a_sample_fails_alone(chosen):
    pool = [Sample("torn", Prompt(Image(b"torn"), "?")), Sample("gone", Prompt(Image("gone.png"), "?")), *POOL]
    chosen.prepare([Sample("q", Prompt(Image(b"also torn"), "?"))], pool, task="toy")
    assert "torn" not in drawn(chosen, Sample("q", Prompt(grey(100), "?")), 5, pool)
    with pytest.raises(KosmosEvalError, match="of its 7 demonstrations only 5 may be shown"):
        drawn(chosen, Sample("q", Prompt(grey(100), "?")), 6, pool)
    with pytest.raises(BadImage, match="cannot be decoded"):
        drawn(chosen, Sample("q", Prompt(Image(b"also torn"), "?")), 1, pool)


def test_a_task_without_images_or_with_demonstrations_of_its_own_is_refused_in_one_line(chosen):
    text = [Sample("1", Prompt("1+1=")), Sample("2", Prompt("1+2="))]
    with pytest.raises(KosmosEvalError, match="toy has no images to compare, which --shots-from rices chooses by"):
        chosen.prepare(text, text, task="toy")
    with pytest.raises(KosmosEvalError, match="toy chooses its own demonstrations; evaluate it without --shots-from"):
        chosen.prepare(POOL, (), task="toy")


def test_an_image_is_embedded_once_by_any_process_that_shares_the_folder(tmp_path):
    first, second, other = Levels(), Levels(), Levels(fingerprint="b" * 64)
    same = Image.drawn(grey(10).pixels())
    made = Embeddings(first, tmp_path).of([grey(10), grey(20), same, Image(b"torn")])
    again = Embeddings(second, tmp_path).of([grey(20), grey(10), grey(30)])
    assert second.asked == [grey(30).digest]
    assert np.array_equal(made[same.digest], again[same.digest])
    assert np.linalg.norm(again[same.digest]) == pytest.approx(1)
    assert isinstance(made[Image(b"torn").digest], BadImage)
    Embeddings(other, tmp_path).of([grey(10)])
    assert other.asked == [grey(10).digest]
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".safetensors"}


def test_damaged_embeddings_are_one_line(tmp_path):
    Embeddings(Levels(), tmp_path).of([grey(10)])
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(RunError, match=r"\.safetensors cannot be read .*; delete the file"):
        Embeddings(Levels(), tmp_path).of([grey(10)])


def test_a_way_to_choose_that_is_not_there_is_one_line(monkeypatch):
    with pytest.raises(UnknownName, match="no way to choose demonstrations is called 'rises'; did you mean 'rices'"):
        load_shots([1], "rises")
    with pytest.raises(UnknownName, match="no encoder is called 'dino'"):
        load_shots([1], "rices:dino:PATH")
    with pytest.raises(ModelError, match="expected rices:clip:PATH"):
        load_shots([1], "rices:clip")


def test_clip_is_read_from_a_folder_and_finds_the_like(tmp_path, monkeypatch):
    import torch
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    network = CLIPVisionModelWithProjection(CLIPVisionConfig(image_size=8, patch_size=4, projection_dim=8, **sizes))
    network.save_pretrained(tmp_path / "clip")
    CLIPImageProcessor(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8}).save_pretrained(
        tmp_path / "clip"
    )
    monkeypatch.setenv("KOSMOS_EVAL_CACHE", str(tmp_path / "cache"))
    chosen = load_shots([1], f"rices:clip:{tmp_path / 'clip'}", device="cpu").choice
    assert drawn(chosen, Sample("q", Prompt(grey(91), "?")), 1) == ["p90"]
    assert chosen.note((), (), 1, seed=0, task="toy") == "RICES by clip"
    assert len(list((tmp_path / "cache" / "embeddings").iterdir())) == 1


@dataclass(frozen=True)
class Greys(Task):
    """How grey is it?"""

    def samples(self):
        return [Sample(f"t{level}", Prompt(grey(level), "?"), str(level)) for level in (15, 100)]

    def examples(self):
        return POOL

    def requests(self, sample, shots):
        return [Generate(few_shot(sample, shots))]

    def score(self, sample, outputs):
        return Score({"near": float(abs(int(outputs[0].text) - int(sample.target)) <= 10)}, outputs[0].text)


@dataclass
class Parrot(Model):
    """Repeats the last answer that it was shown."""

    name: str = "parrot"
    fingerprint: str = "0"

    def fits(self, request):
        return True

    def answers(self, requests):
        for index, request in enumerate(requests):
            yield index, Completion(request.prompt.text("").splitlines()[-2].split()[-1])


def test_an_evaluation_by_rices_finds_the_like_says_so_and_records_it(chosen, tmp_path):
    shots = Shots((2,), chosen)
    (row,) = evaluate(Parrot(), {"greys": Greys()}, shots=shots, out=tmp_path / "run").rows
    assert (row.score, row.note) == (100, "RICES by levels")
    config = load_manifest(tmp_path / "run").config
    assert (config.shots, config.shots_from, config.shots_fingerprint) == ((2,), "rices", "a" * 64)
    hook = EvalHook({"greys": Greys()}, every=1, shots=shots, log=str)
    assert dict(hook(1, Parrot()))["greys/2-shot/near"] == 100
