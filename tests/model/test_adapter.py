import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest
import torch

from kosmos_eval.errors import ModelError
from kosmos_eval.model import Model
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Completion, Generate, Likelihoods, LogLikelihood, Request
from kosmos_model.adapters import kosmos as adapter
from kosmos_model.adapters.kosmos import KosmosModel, kosmos, kosmos_nano, live
from kosmos_model.modeling.checkpoint import save
from kosmos_model.modeling.kosmos import Kosmos, build
from tests.model.conftest import TINY, TOKENIZER

CONFIG = replace(TINY, max_length=40)
ASKED: list[Request] = [Generate(Prompt("Question:"), max_tokens=3), LogLikelihood(Prompt("a"), (" b", " c"))]


def _tiny(seed: int = 0) -> Kosmos:
    return build(CONFIG, seed=seed)


def test_importing_the_adapter_imports_no_torch() -> None:
    code = "import sys, kosmos_model.adapters.kosmos; sys.exit('torch' in sys.modules)"
    paths = [str(Path(adapter.__file__).parents[1]), str(Path(adapter.__file__).parents[2])]
    subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}; {code}"], check=True)


def test_a_saved_model_answers_as_the_one_in_memory(tmp_path: Path) -> None:
    save(_tiny(), tmp_path / "mine", tokenizer=TOKENIZER)
    loaded, memory = kosmos(str(tmp_path / "mine"), device="cpu"), live(_tiny(), TOKENIZER)
    assert isinstance(loaded, Model)
    assert loaded.name == "mine"
    assert dict(loaded.answers(ASKED)) == dict(memory.answers(ASKED))
    assert loaded.fingerprint == memory.fingerprint


def test_a_trained_model_is_called_as_the_folder_of_its_training(tmp_path: Path) -> None:
    save(_tiny(), tmp_path / "own" / "model", tokenizer=TOKENIZER)
    assert kosmos(str(tmp_path / "own" / "model"), device="cpu").name == "own"


def test_the_fingerprint_follows_weights_fit_and_type() -> None:
    model = _tiny()
    seen = {live(_tiny(), TOKENIZER).fingerprint, live(model, TOKENIZER, fit="crop").fingerprint}
    with torch.no_grad():
        model.decoder.layer_norm.bias[0] += 1
    seen |= {live(model, TOKENIZER).fingerprint, live(_tiny().bfloat16(), TOKENIZER).fingerprint}
    assert len(seen) == 4


def test_live_sees_new_weights_and_leaves_the_training_state_alone() -> None:
    model = _tiny().train()
    model.vision.eval()  # frozen parts stay as they are
    modes = [module.training for module in model.modules()]
    wrapped = live(model, TOKENIZER)
    image = Image.drawn(PIL.Image.new("RGB", (8, 8), "red"))
    request = LogLikelihood(Prompt(image), (" yes",))
    (_, before), *_ = wrapped.answers([request])
    assert [module.training for module in model.modules()] == modes
    with torch.no_grad():
        for weight in model.resampler.parameters():
            weight.mul_(-2)
    (_, after), *_ = wrapped.answers([request])
    assert before != after
    assert torch.is_grad_enabled()
    assert all(weight.requires_grad for weight in model.parameters())


def test_an_abandoned_evaluation_restores_the_mode_too() -> None:
    model = _tiny().train()
    answers = live(model, TOKENIZER).answers(ASKED)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert model.training


def test_fits_counts_image_slots_and_the_longest_answer() -> None:
    model = live(_tiny(), TOKENIZER)
    image = Image(b"never decoded here")
    prompt = Prompt(*[image] * 7)  # <s> and seven of <image>, three slots, </image>
    assert model.fits(Generate(prompt, max_tokens=4))
    assert not model.fits(Generate(prompt, max_tokens=5))
    assert model.fits(LogLikelihood(prompt, ("",) * 3))
    assert not model.fits(LogLikelihood(prompt, ("", " several words that are too long")))
    assert not model.fits(Generate(prompt, max_tokens=1, choices=("no", "several words that are too long")))


def test_kosmos_nano_without_weights_says_that_it_is_untrained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(adapter, "WEIGHTS", tmp_path / "none")
    model = kosmos_nano(device="cpu", batch_tokens=256)
    assert (model.name, model.note) == ("kosmos-nano", "untrained")
    found = dict(model.answers(ASKED))
    assert isinstance(found[0], Completion)
    assert isinstance(found[1], Likelihoods)
    assert found == dict(KosmosModel(model.model, model.tokenizer, name="again").answers(ASKED))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "device is 'gpu'; expected auto, cpu, cuda or cuda:N"),
        ({"device": "cuda:99"}, "device is 'cuda:99', but this machine has"),
        ({"dtype": "int4"}, "dtype is 'int4'; expected auto, float32 or bfloat16"),
        ({"fit": "pad"}, "fit is 'pad'; expected squash or crop"),
        ({"batch_tokens": 0}, "batch_tokens is 0; expected auto or a positive whole number"),
        ({"batch_tokens": "many"}, "batch_tokens is 'many'; expected auto or a positive whole number"),
    ],
)
def test_options_that_cannot_be_are_refused_in_a_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError) as caught:
        kosmos_nano(**options)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not there"):
        kosmos(str(tmp_path / "none"))
