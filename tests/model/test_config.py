import dataclasses

import pytest

from kosmos_eval.errors import ModelError, UnknownName
from kosmos_model.modeling.config import PRESETS, as_json, from_json

NANO = PRESETS["kosmos-nano"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_config_survives_json(name):
    import json

    assert from_json(json.loads(json.dumps(as_json(PRESETS[name])))) == PRESETS[name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 126}, "width 126 is no multiple of heads 4; choose one that is"),
        ({"image_size": 100}, "image_size 100 is no multiple of patch_size 16; choose one that is"),
        ({"width": 132}, "width / heads is 33; xPos rotates pairs, so it has to be even"),
        ({"layers": 0}, "layers is 0; expected a positive whole number"),
        ({"layers": "4"}, "layers is '4'; expected a positive whole number"),
        ({"layers": True}, "layers is True; expected a positive whole number"),
        ({"dropout": 1.0}, "dropout is 1.0; expected a share from 0 up to 1"),
        ({"scale_embedding": 1}, "scale_embedding is 1; expected true or false"),
        (
            {"positions": "sinusoidal", "width": 33, "heads": 3},
            "width is 33; half of it are sines, so it has to be even and at least 4",
        ),
        ({"given": (0, "<s>")}, "given is (0, '<s>'); expected token ids"),
        ({"patch_size": 12}, "patch_size is 12; stride-2 convolutions need a power of two"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ModelError) as refused:
        dataclasses.replace(NANO, **change)
    assert str(refused.value) == message


def test_an_unknown_setting_is_named_with_the_nearest_known_one():
    with pytest.raises(UnknownName, match="no model setting is called 'latent'; did you mean 'latents'"):
        from_json(as_json(NANO) | {"latent": 3})


def test_a_missing_setting_is_named():
    values = as_json(NANO)
    del values["width"], values["ffn"]
    with pytest.raises(ModelError, match="the model settings lack width, ffn"):
        from_json(values)


def test_settings_that_an_older_config_lacks_have_their_defaults():
    values = as_json(NANO)
    del values["positions"], values["scale_embedding"]
    assert from_json(values) == dataclasses.replace(NANO, scale_embedding=False)


def test_an_unknown_stem_or_position_encoding_is_refused():
    with pytest.raises(UnknownName, match="no position encoding is called 'sinus'; did you mean 'sinusoidal'"):
        dataclasses.replace(NANO, positions="sinus")
    with pytest.raises(UnknownName, match="no stem is called 'cone'; did you mean 'conv'"):
        dataclasses.replace(NANO, stem="cone")
