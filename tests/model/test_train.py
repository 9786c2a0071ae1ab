import csv
import json
from dataclasses import replace
from errno import ENOSPC

import pytest
import torch
from torch.nn.functional import cross_entropy

from kosmos_eval.cli.app import main
from kosmos_eval.errors import KosmosEvalError, ModelError, RunError, UnknownName
from kosmos_eval.evaluation.run_folder import locked
from kosmos_eval.files import MARKER, mark_made
from kosmos_eval.prompt import Image
from kosmos_model.data.batches import Batches, Plan, balance, loader
from kosmos_model.data.datasets import Dataset
from kosmos_model.data.documents import Document
from kosmos_model.modeling import checkpoint
from kosmos_model.modeling.config import PRESETS
from kosmos_model.modeling.distributed import Ranks
from kosmos_model.modeling.kosmos import build, text_weights
from kosmos_model.modeling.tokenizer import NANO, PAD, Tokenizer
from kosmos_model.training import checkpoints, recipes
from kosmos_model.training.log import Log
from kosmos_model.training.optim import accumulate, learning_rate, optimiser, orthogonal, update
from kosmos_model.training.recipes import Recipe
from kosmos_model.training.setup import Options, setup
from kosmos_model.training.train import train
from tests.model.conftest import NARROW, quiet

LESSONS = "kosmos_tasks.lessons.scenes"
TINY = replace(NARROW, dropout=0.1)
DATASETS = (
    Dataset("captions", f"{LESSONS}:captions", tokens=60),
    Dataset("questions", f"{LESSONS}:questions", tokens=60, emphasis=2.0, prompt_weight=0.1),
    Dataset("text", f"{LESSONS}:sentences", tokens=30, after=2),
)
RECIPE = Recipe(
    "tiny", "tiny", NANO, steps=6, datasets=DATASETS, learning_rate=1e-2, warmup=2, context_length=128, save_every=3
)
HERE = Options(workers=0)
ALONE = Ranks(0, 1, torch.device("cpu"))


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", TINY)


def rows(folder):
    with (folder / "losses.csv").open(newline="") as file:
        return [{**row, "seconds": None} for row in csv.DictReader(file)]


@pytest.mark.parametrize("settings", [{}, {"muon": 5.0}, {"freeze_vision_steps": (1, 5)}])
def test_a_killed_run_goes_on_to_the_same_losses_and_weights(tmp_path, monkeypatch, settings):
    recipe = replace(RECIPE, **settings)
    train(recipe, tmp_path / "straight", HERE, console=quiet())

    class Killed(BaseException):
        pass

    def dies(log, metrics, add=Log.add):
        add(log, metrics)
        if metrics.step == 5:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Log, "add", dies)
        with pytest.raises(Killed):
            train(recipe, tmp_path / "killed", HERE, console=quiet())
    assert [row["step"] for row in rows(tmp_path / "killed")] == ["1", "2", "3", "4", "5"]
    train(recipe, tmp_path / "killed", HERE, console=quiet())

    assert rows(tmp_path / "killed") == rows(tmp_path / "straight")
    for name in (checkpoint.WEIGHTS, checkpoints.OPTIMISER):
        both = [(tmp_path / run / "step-000006" / name).read_bytes() for run in ("straight", "killed")]
        assert both[0] == both[1]


@pytest.mark.parametrize(
    "text", ["", "step,sec", "step,seconds,tokens,learning_rate,norm,other\n1,0.5,9,0.1,1.0,2.5\n"]
)
def test_losses_of_a_run_that_was_killed_before_its_first_checkpoint_are_begun_anew(tmp_path, text):
    mark_made(tmp_path, checkpoints.MADE_BY, ["losses.csv"])
    (tmp_path / "losses.csv").write_text(text)
    train(replace(RECIPE, steps=2), tmp_path, HERE, console=quiet())
    found = rows(tmp_path)
    assert list(found[0]) == ["step", "seconds", "tokens", "learning_rate", "norm", "captions", "questions", "text"]
    assert [row["step"] for row in found] == ["1", "2"]


def test_the_trained_model_is_a_checkpoint_folder_and_older_steps_are_gone(tmp_path):
    model, tokenizer = checkpoint.load(train(RECIPE, tmp_path, HERE, console=quiet()))
    assert model.config == TINY
    assert tokenizer.proto == NANO.read_bytes()
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["losses.csv", "model", "step-000006"]
    assert len(list((tmp_path / "model").iterdir())) == 3


def test_a_finished_run_that_lost_its_model_has_it_again(tmp_path):
    weights = train(RECIPE, tmp_path, replace(HERE, steps=1), console=quiet()) / checkpoint.WEIGHTS
    before = weights.read_bytes()
    weights.unlink()
    train(RECIPE, tmp_path, replace(HERE, steps=1), console=quiet())
    assert weights.read_bytes() == before


def test_while_the_image_encoder_rests_all_else_is_trained(tmp_path):
    before = build(TINY, seed=0)
    after, _ = checkpoint.load(
        train(replace(RECIPE, freeze_vision_steps=(0, 6)), tmp_path / "all", HERE, console=quiet())
    )
    changed = {part for part in ("vision", "resampler", "decoder") if state(before, part) != state(after, part)}
    assert changed == {"resampler", "decoder"}
    some, _ = checkpoint.load(
        train(replace(RECIPE, freeze_vision_steps=(1, 6)), tmp_path / "some", HERE, console=quiet())
    )
    assert state(before, "vision") != state(some, "vision")


def state(model, part):
    return {name: weight.tolist() for name, weight in getattr(model, part).state_dict().items()}


def test_a_dataset_that_is_alone_is_read_alone(tmp_path):
    pairs = Dataset("pairs", "kosmos_tasks.lessons.lookups:pairs", tokens=60, until=2, alone=True)
    train(replace(RECIPE, datasets=(pairs, *DATASETS), steps=3), tmp_path, HERE, console=quiet())
    kinds = ("pairs", "captions", "questions", "text")
    read = [[kind for kind in kinds if row[kind]] for row in rows(tmp_path)]
    assert read == [["pairs"], ["pairs"], ["captions", "questions", "text"]]


def test_losses_are_told_by_dataset_and_a_dataset_begins_after_its_steps(tmp_path):
    train(RECIPE, tmp_path, HERE, console=quiet())
    assert [bool(row["text"]) for row in rows(tmp_path)] == [False, False, True, True, True, True]
    assert all(float(row["captions"]) > 0 and float(row["questions"]) > 0 for row in rows(tmp_path))


def test_another_recipe_does_not_go_on_in_the_same_folder(tmp_path):
    train(RECIPE, tmp_path, HERE, console=quiet())
    with pytest.raises(
        RunError, match=r"has learning_rate 0.01, but now it is 0.02; train with --overwrite or another --out"
    ):
        train(replace(RECIPE, learning_rate=0.02), tmp_path, HERE, console=quiet())
    train(replace(RECIPE, learning_rate=0.02), tmp_path, replace(HERE, steps=1, overwrite=True), console=quiet())
    assert len(rows(tmp_path)) == 1


@pytest.mark.parametrize("name", ["model", "step-000007", "tensorboard", "losses.csv", "scores.csv"])
def test_what_training_did_not_make_is_neither_removed_nor_written_over(tmp_path, name):
    foreign = tmp_path / name
    if "." in name:
        foreign.write_text("mine")
    else:
        foreign.mkdir()
    with pytest.raises(RunError, match=f"{name} was not made by 'kosmos-eval train'; move it away or choose another"):
        train(RECIPE, tmp_path, replace(HERE, overwrite=True), console=quiet())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".lock", name])


def test_overwriting_removes_what_training_made_and_nothing_beside_it(tmp_path):
    train(RECIPE, tmp_path, replace(HERE, steps=2), console=quiet())
    mine = [tmp_path / "notes.txt", tmp_path / "step-by-step.md", tmp_path / "step-mine" / "a"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    train(RECIPE, tmp_path, replace(HERE, steps=1, overwrite=True), console=quiet())
    assert all(path.read_text() == "mine" for path in mine)
    assert sorted(path.name for path in tmp_path.glob("step-0*")) == ["step-000001"]


def nothing(seed):
    return iter(())


@pytest.mark.parametrize(
    "broken",
    [
        {"datasets": (Dataset("none", f"{__name__}:nothing", 30),)},
        {"datasets": (Dataset("none", f"{__name__}:nowhere", 30),)},
        {"tokenizer": NANO.with_name("nowhere.spm")},
        {"init": NANO},
        {"evaluate": {"vqav3": (0,)}, "evaluate_every": 1},
    ],
)
def test_a_start_that_fails_removes_nothing(tmp_path, broken):
    train(RECIPE, tmp_path, replace(HERE, steps=1), console=quiet())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(KosmosEvalError):
        train(replace(RECIPE, **broken), tmp_path, replace(HERE, overwrite=True), console=quiet())
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("{", r"\.kosmos-eval cannot be read"),
        (
            '{"made_by": "kosmos-eval clean", "made": ["model"]}',
            "was made by 'kosmos-eval clean', not 'kosmos-eval train'",
        ),
        ('{"made_by": "kosmos-eval train", "made": ["../other"]}', r"names '\.\./other'; expected names of entries"),
    ],
)
def test_a_marker_that_is_not_of_training_removes_nothing(tmp_path, marker, message):
    folder, other = tmp_path / "run", tmp_path / "other"
    for path in (folder / "model", other):
        path.mkdir(parents=True)
    (folder / MARKER).write_text(marker)
    with pytest.raises(RunError, match=message):
        train(RECIPE, folder, replace(HERE, overwrite=True), console=quiet())
    assert (folder / "model").is_dir() and other.is_dir()


def test_an_empty_out_is_refused_before_anything(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    monkeypatch.setattr("sys.argv", ["kosmos-eval", "train", "nano", "--out", "", "--overwrite"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert capsys.readouterr().err == "error: --out is empty; expected the name of a folder\n"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_more_steps_go_on_from_the_last(tmp_path):
    train(RECIPE, tmp_path, replace(HERE, steps=2), console=quiet())
    out = quiet()
    train(RECIPE, tmp_path, replace(HERE, steps=4), console=out)
    assert "going on after step 2 of 4" in out.file.getvalue()
    assert len(rows(tmp_path)) == 4


def test_a_time_budget_is_fixed_into_steps_once_the_first_are_measured(tmp_path):
    train(RECIPE, tmp_path, replace(HERE, minutes=0.0), console=quiet())
    assert len(rows(tmp_path)) == 14


@pytest.mark.parametrize(("name", "error"), [(checkpoints.OPTIMISER, ModelError), (checkpoints.STATE, RunError)])
def test_a_damaged_checkpoint_is_named(tmp_path, name, error):
    train(RECIPE, tmp_path, replace(HERE, steps=1), console=quiet())
    damaged = tmp_path / "step-000001" / name
    damaged.write_bytes(damaged.read_bytes()[:40])
    with pytest.raises(error, match=name):
        train(RECIPE, tmp_path, HERE, console=quiet())


def test_a_full_disk_is_one_line_and_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    train(RECIPE, tmp_path, replace(HERE, steps=3), console=quiet())

    def full(*_args, **_more):
        raise OSError(ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", full)
        with pytest.raises(RunError, match=r"No space left on device; its last checkpoint is kept, fix this and run"):
            train(RECIPE, tmp_path, replace(HERE, steps=4), console=quiet())
    assert [path.name for path in tmp_path.glob("step-*")] == ["step-000003"]
    train(RECIPE, tmp_path, replace(HERE, steps=4), console=quiet())
    assert [path.name for path in tmp_path.glob("step-*")] == ["step-000004"]


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    with locked(tmp_path), pytest.raises(RunError, match="is in use by another process; wait for it or choose another"):
        train(RECIPE, tmp_path, HERE, console=quiet())
    assert not list(tmp_path.glob("step-*"))


def test_a_run_goes_on_though_settings_were_added_since(tmp_path):
    recipe = replace(RECIPE, shape={"scale_embedding": False})
    train(recipe, tmp_path, replace(HERE, steps=1), console=quiet())
    path = tmp_path / "step-000001" / checkpoints.STATE
    state = json.loads(path.read_text())
    del state["config"]["positions"], state["config"]["scale_embedding"]
    path.write_text(json.dumps(state))
    train(recipe, tmp_path, replace(HERE, steps=2), console=quiet())
    assert len(rows(tmp_path)) == 2


def batch(micro_batch_tokens, **share):
    plan = Plan(DATASETS, 0, 128, micro_batch_tokens, TINY.image_size, **share)
    return Batches(plan, Tokenizer.read(NANO, slots=TINY.latents))[5]


def gradients(parts):
    model = build(replace(TINY, dropout=0.0), seed=1).train()
    sums = accumulate(model, parts, datasets=3)
    return sums, {name: weight.grad for name, weight in model.named_parameters()}


def test_gradients_of_many_parts_add_up_to_those_of_one_batch():
    (one,), many = batch(100_000), batch(50)
    assert len(many) > 3
    (sums, whole), (others, added) = gradients([one]), gradients(many)
    torch.testing.assert_close(sums, others, rtol=1e-5, atol=1e-6)
    for name, gradient in whole.items():
        torch.testing.assert_close(gradient, added[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("positions", ["xpos", "sinusoidal"])
def test_the_loss_is_the_models_own_where_all_text_counts_alike(positions):
    dataset = replace(DATASETS[0], tokens=90)
    plan = Plan((dataset,), 0, 128, 100_000, TINY.image_size)
    (part,) = Batches(plan, Tokenizer.read(NANO, slots=TINY.latents))[0]
    weights = text_weights(part.tokens, TINY.given)
    assert torch.equal(part.weights, weights)
    model = build(replace(TINY, positions=positions), seed=1).eval()
    ((loss, weight, tokens),) = accumulate(model, [part], datasets=1).tolist()
    logits = model(part.tokens, part.pixels[part.shown])[:, :-1]
    each = cross_entropy(logits.transpose(1, 2), part.tokens[:, 1:], reduction="none")
    assert loss == pytest.approx((each * weights[:, 1:]).sum().item(), rel=1e-5)
    assert (weight, tokens) == (weights[:, 1:].sum(), (part.tokens != PAD).sum())


def test_a_batch_is_a_function_of_its_step_whatever_draws_it():
    plan = Plan(DATASETS, 0, 128, 200, TINY.image_size)
    batches = Batches(plan, Tokenizer.read(NANO, slots=TINY.latents))
    (drawn,) = loader(batches, range(5, 6), workers=0)
    for part, other in zip(drawn, batch(200), strict=True):
        assert all(torch.equal(getattr(part, name), getattr(other, name)) for name in part.__dataclass_fields__)


def test_ranks_share_a_batch_and_leave_nothing_out():
    def documents(parts):
        return sorted(tuple(row.tolist()) for part in parts for row in part.tokens)

    alone = batch(1)
    shares = [batch(1, rank=rank, ranks=2) for rank in (0, 1)]
    assert documents(alone) == documents([*shares[0], *shares[1]])


def test_documents_are_dealt_by_what_they_cost():
    def entry(tokens, images=0):
        picture = Image(b"")
        return Document("", (0,) * tokens, (0.0,) * tokens, (picture,) * images), 1.0, 0

    long, pictures, short = entry(120), entry(20, images=3), entry(20)
    first, second = balance([short, short, long, short, pictures, short], 2)
    assert first == [pictures, short]  # 20 + 3 * 50, and 20
    assert second == [long, short, short, short]


def test_an_image_that_is_shown_often_is_encoded_once():
    (part,) = batch(100_000)
    slots = int((part.tokens == TINY.slot).sum())
    assert len(part.shown) * TINY.latents == slots
    assert part.pixels.unique(dim=0).shape == part.pixels.shape


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (16, 16)])
def test_muon_moves_a_matrix_along_all_its_directions_alike(shape):
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=torch.Generator().manual_seed(0))))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_muon_moves_what_is_multiplied_by_and_adamw_the_rest():
    model = build(TINY, seed=0)
    adam = optimiser(model, replace(RECIPE, muon=5.0))
    names = {weight: name for name, weight in model.named_parameters()}
    muon, rest, vectors = ({names[weight] for weight in group["params"]} for group in adam.param_groups)
    assert {"decoder.layers.0.ffn.fc1.weight", "decoder.layers.0.self_attn.q_proj.weight"} <= muon
    assert "decoder.embed_tokens.weight" in rest
    assert "decoder.layer_norm.weight" in vectors
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    update(adam, learning_rate=0.1, clip=1e9)
    assert all(not torch.equal(weight, before[name]) for name, weight in model.named_parameters())


def test_the_rate_rises_in_the_warmup_and_falls_to_nothing():
    recipe = replace(RECIPE, learning_rate=1.0, warmup=4)
    assert [learning_rate(step, recipe, steps=8) for step in range(9)] == [
        0.25,
        0.5,
        0.75,
        1.0,
        1.0,
        0.75,
        0.5,
        0.25,
        0.0,
    ]


EVALUATED = replace(RECIPE, steps=3, evaluate_every=2, evaluate_limit=2, evaluate={"rendered_sst2": (0, 1)})


def test_losses_with_evaluation_are_bit_equal_to_those_without(tmp_path):
    train(replace(RECIPE, steps=3), tmp_path / "plain", HERE, console=quiet())
    train(EVALUATED, tmp_path / "evaluated", HERE, console=quiet())
    assert rows(tmp_path / "plain") == rows(tmp_path / "evaluated")
    for name in (checkpoint.WEIGHTS, checkpoints.OPTIMISER):
        both = [(tmp_path / run / "step-000003" / name).read_bytes() for run in ("plain", "evaluated")]
        assert both[0] == both[1]
    with (tmp_path / "evaluated" / "scores.csv").open(newline="") as file:
        found = {(row["step"], row["shots"], row["metric"], row["samples"]) for row in csv.DictReader(file)}
    assert found == {(step, shots, "accuracy", "2") for step in "23" for shots in "01"}


def test_an_error_in_evaluation_does_not_end_the_training(tmp_path, monkeypatch):
    def broken(*args, **options):
        raise ZeroDivisionError("no")

    monkeypatch.setattr("kosmos_model.training.train.live", broken)
    out = quiet()
    train(EVALUATED, tmp_path, HERE, console=out)
    assert "step 2: evaluation failed (ZeroDivisionError: no); training goes on, 1 failed so far" in out.file.getvalue()
    assert len(rows(tmp_path)) == 3


def test_a_task_that_is_not_there_is_named_before_the_first_step(tmp_path):
    with pytest.raises(UnknownName, match="no task is called 'vqav3'; did you mean 'vqav2'"):
        train(replace(EVALUATED, evaluate={"vqav3": (0,)}), tmp_path, HERE, console=quiet())
    assert not (tmp_path / "losses.csv").exists()


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    run = setup(RECIPE, tmp_path, HERE, ranks=ALONE)
    run.model.decoder.embed_tokens.weight.data[:] = float("inf")
    with pytest.raises(ModelError, match="not a finite number; lower the recipe's learning_rate"):
        accumulate(run.model, batch(200), datasets=3)


def test_the_bundled_recipe_reads_lessons_alone():
    nano = recipes.read("nano")
    read = {dataset.source.partition(":")[0].removeprefix("kosmos_tasks.lessons.") for dataset in nano.datasets}
    assert read == {"scenes", "lookups", "matrices"}
    assert nano.tokenizer.resolve() == NANO.resolve()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = ", "is no TOML"),
        ("steps = 3", "has no dataset to train on"),
        ('[datasets.a]\nsource = "a:b"\ntokens = 3', "lacks model, tokenizer, steps, learning_rate, warmup$"),
        ("[datasets.a]\ntoken = 3", "no setting of datasets.a .* is called 'token'; did you mean 'tokens'"),
    ],
)
def test_a_recipe_that_cannot_be_says_why(tmp_path, text, message):
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(KosmosEvalError, match=message):
        recipes.read(str(tmp_path / "own.toml"))


def test_an_unknown_recipe_is_told_the_closest():
    with pytest.raises(UnknownName, match="no recipe is called 'nanno'; did you mean 'nano'"):
        recipes.read("nanno")


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="has 1024 pieces, but kosmos-1 64007"):
        train(replace(RECIPE, model="kosmos-1"), tmp_path, HERE, console=quiet())
