import re
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from kosmos_eval.errors import KosmosEvalError, ModelError, UnknownName
from kosmos_model.data import datasets
from kosmos_model.modeling.config import PRESETS
from kosmos_model.training import recipes
from kosmos_model.training.recipes import completed, identity

LARGE = ("KOSMOS_TOKENIZER", "KOSMOS_CLIP", "KOSMOS_DATA", "KOSMOS_WEIGHTS")
OWN = 'extends = "nano"\nsteps = 3\n'


@pytest.fixture
def own(tmp_path):
    def write(text, name="own.toml"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


@pytest.fixture
def large(monkeypatch, tmp_path):
    for name in LARGE:
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    return tmp_path


def test_a_recipe_has_the_settings_of_the_one_that_it_extends_but_for_its_own(own):
    nano, found = recipes.read("nano"), recipes.read(own(OWN))
    assert (found.name, found.steps) == ("own", 3)
    assert (found.datasets, found.learning_rate, found.tokenizer) == (nano.datasets, nano.learning_rate, nano.tokenizer)


def test_datasets_are_kept_by_name(own):
    assert [dataset.kind for dataset in recipes.read(own(OWN + 'keep = ["sentences"]')).datasets] == ["sentences"]
    with pytest.raises(UnknownName, match="is called 'sentence'; did you mean 'sentences'"):
        recipes.read(own(OWN + 'keep = ["sentence"]'))


def test_a_recipe_changes_the_shape_of_its_preset(own):
    nano = PRESETS["kosmos-nano"]
    found = recipes.read(own(OWN + "shape = { layers = 2, scale_embedding = false }"))
    assert recipes.shaped(found) == replace(nano, layers=2, scale_embedding=False)
    assert recipes.shaped(recipes.read("nano")) == nano
    with pytest.raises(UnknownName, match="no model setting is called 'layer'; did you mean 'layers'"):
        recipes.read(own(OWN + "shape = { layer = 2 }"))
    with pytest.raises(ModelError, match="width 128 is no multiple of heads 5"):
        recipes.read(own(OWN + "shape = { heads = 5 }"))


def test_muon_and_shards_do_not_go_together(own):
    with pytest.raises(KosmosEvalError, match=r"own.toml asks for both muon and shard, but Muon needs whole matrices"):
        recipes.read(own(OWN + "muon = 2.0\nshard = true"))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('learning_rate = "fast"', "own.toml has learning_rate = 'fast': Input should be a valid number"),
        ("learning_rate = 0.0", "own.toml has learning_rate = 0.0: Input should be greater than 0"),
        ("warmup = -1", "own.toml has warmup = -1: Input should be greater than or equal to 0"),
        ("betas = 0.9", "own.toml has betas = 0.9: Input should be a valid tuple"),
        ("betas = [0.9, 1.0]", "own.toml has betas.1 = 1.0: Input should be less than 1"),
        ("freeze_vision_steps = [3]", "own.toml lacks freeze_vision_steps.1"),
        ("model = 3", "own.toml has model = 3: Input should be a valid string"),
        ("shape = 3", "own.toml has shape = 3: Input should be a valid dictionary"),
        ("evaluate = { vqav2 = 0 }", "own.toml has evaluate.vqav2 = 0: Input should be a valid tuple"),
        ("keep = 3", "own.toml has keep = 3: Input should be a valid list"),
        ("datasets = 3", "own.toml has datasets = 3: Input should be a valid dictionary"),
        ("[datasets]\npairs = 3", "own.toml has datasets.pairs = 3: Input should be a valid dictionary"),
        (
            '[datasets.a]\nsource = "a:b"\ntokens = 2.5',
            "own.toml has datasets.a.tokens = 2.5: Input should be a valid int",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_named(own, line, found):
    with pytest.raises(KosmosEvalError, match=re.escape(found)):
        recipes.read(own(f'extends = "nano"\n{line}'))


@pytest.mark.parametrize(
    "line", ["rate = 1e-3", "length = 9", "vision_rests = [1, 5]", "[streams.a]", "part_tokens = 9"]
)
def test_a_setting_by_an_older_name_is_unknown(own, line):
    with pytest.raises(UnknownName, match=r"no setting \(.*own.toml\) is called '\w+'"):
        recipes.read(own(OWN + line))


def test_the_image_encoder_rests_between_two_steps(own):
    with pytest.raises(
        KosmosEvalError, match=r"own.toml has freeze_vision_steps = \[5, 1\]; expected two steps, \[AFTER, UNTIL\]"
    ):
        recipes.read(own(OWN + "freeze_vision_steps = [5, 1]"))
    assert recipes.read(own(OWN + "freeze_vision_steps = [1, 5]")).freeze_vision_steps == (1, 5)


def test_an_image_encoder_whose_weights_are_shared_out_does_not_rest(own):
    with pytest.raises(
        KosmosEvalError, match=r"own.toml asks for both freeze_vision_steps and shard, .*; leave one out"
    ):
        recipes.read(own(OWN + "freeze_vision_steps = [1, 5]\nmuon = 0.0\nshard = true"))


def test_a_recipe_does_not_extend_itself(own):
    with pytest.raises(KosmosEvalError, match=r"own.toml extends itself; name another recipe"):
        recipes.read(own(f'extends = "{own("")}"'))


def test_what_the_environment_lacks_is_named(own, monkeypatch):
    monkeypatch.delenv("NOWHERE_AT_ALL", raising=False)
    with pytest.raises(KosmosEvalError, match=r"own.toml needs the environment's NOWHERE_AT_ALL, which is not set"):
        recipes.read(own('init = "$NOWHERE_AT_ALL/model"'))


def test_paths_are_relative_to_the_recipe_and_hold_what_the_environment_says(own, monkeypatch, tmp_path):
    monkeypatch.setenv("WEIGHTS", "/somewhere")
    assert recipes.read(own(OWN + 'init = "${WEIGHTS}/model"')).init == Path("/somewhere/model")
    assert recipes.read(own(OWN + 'init = "model"')).init == tmp_path / "model"


def shows(dataset):
    """Return whether a dataset has pictures."""
    items = islice(datasets.resolve(dataset.source)(0), 5)
    return any(not isinstance(item, str) and any(sample.prompt.images for sample in item) for item in items)


@pytest.mark.parametrize("name", ["nano", "nano-text", "instruct"])
def test_every_dataset_of_a_small_recipe_has_lessons(name):
    for dataset in recipes.read(name).datasets:
        assert next(datasets.resolve(dataset.source)(0))


def test_the_text_only_baseline_reads_what_nano_reads_of_text_and_nothing_else():
    nano, text = recipes.read("nano"), recipes.read("nano-text")
    assert text.datasets == tuple(dataset for dataset in nano.datasets if not shows(dataset))
    assert {"sentences", "pairs"} <= {dataset.kind for dataset in text.datasets}
    assert text.evaluate_every == 0
    same = {"model", "learning_rate", "warmup", "steps", "betas", "weight_decay", "clip", "context_length"}
    assert all(getattr(text, name) == getattr(nano, name) for name in same)


def test_instruction_tuning_begins_with_nano_and_counts_outputs_alone():
    tuned = recipes.read("instruct")
    assert tuned.init is not None and tuned.init.is_file()
    assert next(dataset for dataset in tuned.datasets if dataset.kind == "instructions").prompt_weight == 0.0
    assert len(tuned.datasets) > 4


@pytest.mark.usefixtures("large")
def test_kosmos_1_is_trained_as_the_tables_of_the_paper_say():
    found = recipes.read("kosmos-1")
    assert (found.steps, found.warmup, found.learning_rate) == (300_000, 375, 2e-4)
    assert (found.betas, found.epsilon, found.weight_decay, found.context_length) == ((0.9, 0.98), 1e-6, 0.01, 2048)
    *text, captions, interleaved = found.datasets
    assert (sum(dataset.tokens for dataset in text), captions.tokens, interleaved.tokens) == (499_500, 500_000, 200_000)
    shares = [dataset.tokens / 500_000 for dataset in text]
    table = [0.218, 0.177, 0.162, 0.147, 0.106, 0.102, 0.054, 0.011, 0.010, 0.010, 0.002]
    assert shares == pytest.approx(table)
    assert all(dataset.prompt_weight == dataset.emphasis == 1.0 for dataset in found.datasets)
    assert found.freeze_vision and found.shard and found.checkpoint_activations
    assert PRESETS[found.model].dropout == 0.1


def test_kosmos_1_is_tuned_as_table_19_says(large):
    found = recipes.read("kosmos-1-instruct")
    assert (found.steps, found.warmup, found.learning_rate) == (10_000, 375, 2e-5)
    assert found.init == large / "kosmos_weights"
    weights = {dataset.kind: dataset.prompt_weight for dataset in found.datasets}
    assert weights == {"unnatural": 0.0, "flan": 0.0, "text": 1.0, "captions": 1.0, "interleaved": 1.0}


@pytest.mark.parametrize("name", ["kosmos-1", "kosmos-1-instruct"])
def test_a_large_recipe_says_what_it_needs(name, monkeypatch):
    for variable in LARGE:
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(KosmosEvalError, match=r"needs the environment's KOSMOS_\w+, which is not set; its head says"):
        recipes.read(name)


def test_an_older_identity_is_completed_with_the_defaults_of_newer_settings():
    now = identity(recipes.read("nano"))
    older = {name: value for name, value in now.items() if name not in ("freeze_vision", "compile")}
    older["datasets"] = [{"kind": s["kind"], "source": s["source"], "tokens": s["tokens"]} for s in now["datasets"]]
    found = completed(older)
    assert {**found, "datasets": None} == {**now, "datasets": None}
    assert all(dataset.keys() == found["datasets"][0].keys() for dataset in now["datasets"])
