import dataclasses
import json
import shutil

import pytest
import torch

from kosmos_eval.errors import ModelError
from kosmos_model.modeling.checkpoint import empty, load, save
from kosmos_model.modeling.config import PRESETS
from kosmos_model.modeling.kosmos import build
from kosmos_model.modeling.tokenizer import NANO, Tokenizer, train
from tests.model.conftest import NARROW

TINY = dataclasses.replace(NARROW, layers=1, resampler_depth=0, patch_size=4)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    save(build(TINY, seed=3), folder, tokenizer=Tokenizer.read(NANO))
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "tiny")


def refused(folder):
    with pytest.raises(ModelError) as error:
        load(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_saved_model_is_the_same_again(folder):
    model, tokenizer = load(folder)
    original = build(TINY, seed=3).eval()
    ids = [0, 5, 4, 4, 6, *tokenizer.encode("An image of a star")]
    tokens, pixels = torch.tensor([ids]), torch.randn(1, 3, 16, 16)
    assert torch.equal(model(tokens, pixels), original(tokens, pixels))
    assert model.config == TINY
    assert tokenizer.slots == 2
    assert not model.training


def test_a_checkpoint_is_three_files_with_tied_weights_once(folder):
    from safetensors.torch import load_file

    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "tokenizer.spm"]
    names = set(load_file(folder / "model.safetensors"))
    assert names == {name for name, _ in build(TINY, seed=0).named_parameters()}
    assert "decoder.output_projection.weight" not in names


def test_weights_in_half_precision_load_as_fp32(folder):
    model = build(TINY, seed=3).to(torch.bfloat16)
    save(model, folder, tokenizer=Tokenizer.read(NANO))
    loaded, _ = load(folder)
    for name, weight in loaded.named_parameters():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, model.get_parameter(name).float()), name


def test_a_large_model_takes_no_memory_before_its_weights_come():
    model = empty(PRESETS["kosmos-1"])
    assert all(weight.is_meta for weight in model.parameters())
    assert sum(weight.numel() for weight in model.parameters()) == 1_662_375_936
    assert not any(buffer.is_meta for buffer in model.buffers())


def test_what_is_loaded_is_whole_tied_and_lies_in_memory_of_its_own(folder):
    model, _ = load(folder)
    assert not any(value.is_meta for value in (*model.parameters(), *model.buffers()))
    assert model.decoder.output_projection.weight is model.decoder.embed_tokens.weight
    before = model.decoder.layer_norm.weight.clone()
    (folder / "model.safetensors").write_bytes(bytes(100_000))
    assert torch.equal(model.decoder.layer_norm.weight, before)


def test_a_failed_save_leaves_the_old_model_and_no_litter(folder, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save(build(TINY, seed=9), folder, tokenizer=Tokenizer.read(NANO))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_that_is_not_there_is_named(tmp_path):
    message = refused(tmp_path / "none")
    assert (
        "none is not there; a checkpoint is a folder with config.json, model.safetensors and tokenizer.spm" in message
    )


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.spm"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    message = refused(folder)
    assert name in message
    assert "No such file" in message


def test_a_pickle_is_refused_and_never_opened(folder):
    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('unpickled')",))

    (folder / "model.safetensors").unlink()
    torch.save(Bomb(), folder / "pytorch_model.bin")
    assert "holds a pickle (pytorch_model.bin), which could run any code and is never loaded" in refused(folder)
    assert "is a pickle" in refused(folder / "pytorch_model.bin")
    shutil.copy(folder / "pytorch_model.bin", folder / "model.safetensors")
    assert "model.safetensors is cut short or no safetensors file" in refused(folder)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_weights_are_refused(folder, kept):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    assert "model.safetensors is cut short or no safetensors file" in refused(folder)


def edit(folder, **changes):
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | changes))


def test_weights_of_another_width_are_refused(folder):
    edit(folder, ffn=64)
    message = refused(folder)
    assert message.startswith("decoder.layers.0.ffn.fc1.weight in ")
    assert message.endswith("is (32, 16), but config.json makes it (64, 16); use the config of the weights")


def test_weights_of_more_or_fewer_layers_are_refused(folder):
    edit(folder, layers=2)
    assert "model.safetensors lacks decoder.layers.1." in refused(folder)
    edit(folder, layers=1, vision_layers=1, resampler_depth=2)
    assert "model.safetensors lacks resampler.layers.0." in refused(folder)


def test_weights_that_the_model_has_no_place_for_are_refused(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"extra": torch.zeros(1)}, folder / "model.safetensors")
    assert "model.safetensors has, unlike the model, extra; are the weights of another config.json?" in refused(folder)


def test_a_tokenizer_of_another_size_is_refused(folder):
    train(["a large red star"], vocab_size=380, path=folder / "tokenizer.spm")
    message = refused(folder)
    assert "pieces, but the model 1024; use the tokenizer that the model was trained with" in message


def test_a_tokenizer_that_is_none_is_refused(folder):
    (folder / "tokenizer.spm").write_bytes(b"nothing")
    assert "tokenizer.spm: the tokenizer is not a SentencePiece model" in refused(folder)


def test_an_unknown_setting_is_refused(folder):
    edit(folder, latent=3)
    assert "config.json: no model setting is called 'latent'; did you mean 'latents'?" in refused(folder)


@pytest.mark.parametrize(
    ("content", "message"), [("{", "is no JSON"), ("[1]", "found a list"), ('{"width": -1}', "lack")]
)
def test_settings_that_are_none_are_refused(folder, content, message):
    (folder / "config.json").write_text(content)
    assert message in refused(folder)
