"""What a training begins with, and how it computes."""

from dataclasses import replace

import pytest
import torch

from kosmos_eval.errors import BadData, ModelError
from kosmos_model.data.batches import Batches, Plan, loader, prefetch
from kosmos_model.data.datasets import Dataset
from kosmos_model.modeling import checkpoint
from kosmos_model.modeling.config import PRESETS
from kosmos_model.modeling.distributed import Ranks
from kosmos_model.modeling.kosmos import build
from kosmos_model.modeling.tokenizer import NANO, Tokenizer
from kosmos_model.training.optim import accumulate, token_losses
from kosmos_model.training.recipes import Recipe
from kosmos_model.training.setup import Options, setup
from kosmos_model.training.train import train
from tests.model.conftest import NARROW, quiet

LESSONS = "kosmos_tasks.lessons.scenes"
TINY = replace(NARROW, vision_layers=2)
CAPTIONS = Dataset("captions", f"{LESSONS}:captions", tokens=60)
TEXT = Dataset("text", f"{LESSONS}:sentences", tokens=30)
RECIPE = Recipe(
    "tiny", "tiny", NANO, steps=2, datasets=(CAPTIONS,), learning_rate=1e-2, warmup=2, context_length=128, save_every=1
)
HERE, ALONE = Options(workers=0), Ranks(0, 1, torch.device("cpu"))


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", TINY)


@pytest.fixture
def given(tmp_path):
    """A model's folder."""
    checkpoint.save(build(TINY, seed=9), tmp_path / "given", tokenizer=Tokenizer.read(NANO, slots=TINY.latents))
    return tmp_path / "given"


@pytest.mark.parametrize("named", [".", checkpoint.WEIGHTS])
def test_a_training_begins_with_given_weights(tmp_path, given, named):
    run = setup(replace(RECIPE, init=given / named), tmp_path / "run", HERE, ranks=ALONE)
    for one, other in zip(run.model.parameters(), build(TINY, seed=9).parameters(), strict=True):
        assert torch.equal(one, other)


def test_weights_of_another_model_are_refused(tmp_path, given, monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", replace(TINY, width=32))
    with pytest.raises(ModelError, match=r"is \(1024, 16\), but config.json makes it \(1024, 32\)"):
        setup(replace(RECIPE, init=given), tmp_path / "run", HERE, ranks=ALONE)


def test_a_checkpoint_goes_before_given_weights(tmp_path, given):
    recipe = replace(RECIPE, init=given)
    train(recipe, tmp_path / "run", replace(HERE, steps=1), console=quiet())
    run = setup(recipe, tmp_path / "run", HERE, ranks=ALONE)
    assert run.state.step == 1
    assert not torch.equal(run.model.decoder.embed_tokens.weight, build(TINY, seed=9).decoder.embed_tokens.weight)


def test_a_frozen_image_encoder_learns_in_its_last_layer_alone(tmp_path):
    run = setup(replace(RECIPE, freeze_vision=True), tmp_path, HERE, ranks=ALONE)
    learning = {name for name, weight in run.model.vision.named_parameters() if weight.requires_grad}
    assert learning and all(".layers.1." in name or "post_layernorm" in name for name in learning)
    moved = {id(weight) for group in run.optimiser.param_groups for weight in group["params"]}
    assert moved == {id(weight) for weight in run.model.parameters() if weight.requires_grad}


def test_a_run_that_reads_text_alone_goes_on_and_leaves_the_image_encoder_as_it_was(tmp_path):
    recipe = replace(RECIPE, datasets=(TEXT,))
    train(recipe, tmp_path / "straight", HERE, console=quiet())
    train(recipe, tmp_path / "killed", replace(HERE, steps=1), console=quiet())
    train(recipe, tmp_path / "killed", replace(HERE, steps=2), console=quiet())
    one, other = (checkpoint.load(tmp_path / name / "model")[0] for name in ("straight", "killed"))
    fresh = build(TINY, seed=0)
    for mine, theirs, before in zip(
        one.vision.parameters(), other.vision.parameters(), fresh.vision.parameters(), strict=True
    ):
        assert torch.equal(mine, before) and torch.equal(theirs, before)


def parts(*datasets, micro_batch_tokens=100_000):
    plan = Plan(datasets, 0, 128, micro_batch_tokens, TINY.image_size)
    return Batches(plan, Tokenizer.read(NANO, slots=TINY.latents))[0]


def gradients(model):
    sums = accumulate(model, parts(CAPTIONS, TEXT), datasets=2)
    return sums, {name: weight.grad for name, weight in model.named_parameters()}


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # dynamo asks each tensor for it, by design
def test_a_compiled_model_has_the_same_gradients(tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", replace(TINY, layers=1, vision_layers=1))
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: compiled(self, backend="eager", **how))
    plain, fast = (setup(replace(RECIPE, compile=which), tmp_path, HERE, ranks=ALONE).model for which in (False, True))
    assert all(layer._compiled_call_impl is not None for layer in (fast.vision, *fast.decoder.layers))
    (sums, expected), (found, got) = gradients(plain), gradients(fast)
    torch.testing.assert_close(sums, found)
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient)


def test_in_bf16_xpos_stays_in_fp32():
    """Rotated in bf16, positions of some hundreds would be off by tenths (TorchScale's own module)."""
    long = Dataset("text", f"{LESSONS}:sentences", tokens=600)
    plan = Plan((long,), 0, 600, 100_000, TINY.image_size)
    (part,) = Batches(plan, Tokenizer.read(NANO, slots=TINY.latents))[0]
    model = build(replace(TINY, width=64, heads=1), seed=0).eval()
    exact, _, _ = token_losses(model, part)
    with torch.autocast("cpu", torch.bfloat16):
        found, _, _ = token_losses(model, part)
    assert found.dtype == torch.float32
    assert len(found) > 500
    assert (found - exact)[-100:].abs().mean() < 2 * (found - exact)[:100].abs().mean() < 0.1


def test_files_that_are_not_there_are_named_before_a_model_is_built(tmp_path):
    dataset = Dataset("text", "text", 30, paths=[str(tmp_path / "nowhere")])
    with pytest.raises(BadData, match=r"nowhere names no file of training data"):
        train(replace(RECIPE, datasets=(dataset,)), tmp_path / "run", HERE, console=quiet())


def nothing(seed):
    return iter(())


@pytest.mark.parametrize("workers", [0, 1])
def test_an_empty_dataset_is_named_in_one_line_whichever_process_reads_it(workers):
    plan = Plan((Dataset("none", f"{__name__}:nothing", 30),), 0, 128, 100, TINY.image_size)
    batches = Batches(plan, Tokenizer.read(NANO, slots=TINY.latents))
    with pytest.raises(BadData) as caught:
        next(prefetch(loader(batches, range(1), workers=workers)))
    assert str(caught.value) == f"dataset none ({__name__}:nothing) is empty; expected lessons or texts without end"


def test_few_tokens_of_files_are_read_by_few_ranks_in_turn(tmp_path):
    (tmp_path / "some.txt").write_text("\n\n".join(f"text number {number} of some" for number in range(400)))
    dataset = Dataset("text", "text", tokens=64, paths=[str(tmp_path)])
    tokenizer = Tokenizer.read(NANO, slots=TINY.latents)
    plans = [Plan((dataset, dataset), 0, 32, 1000, TINY.image_size, rank, 8) for rank in range(8)]
    read = [[bool(Batches(plan, tokenizer)[step]) for plan in plans] for step in range(8)]
    assert all(sum(ranks) == 4 for ranks in read)  # twice two documents of 32 tokens
    assert all(any(step[rank] for step in read) for rank in range(8))
