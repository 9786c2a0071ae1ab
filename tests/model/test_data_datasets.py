import ast
import itertools
from pathlib import Path

import pytest

import kosmos_model
from kosmos_eval.errors import BadData, PlugInError
from kosmos_eval.prompt import Prompt
from kosmos_eval.sample import Sample
from kosmos_model.data import datasets
from kosmos_model.data.datasets import Dataset, documents, resolve, seed_of
from kosmos_model.modeling.tokenizer import NANO, Tokenizer

TOKENIZER = Tokenizer.read(NANO, slots=2)


def numbers(seed):
    return ([Sample(str(n), Prompt(f"{seed % 1000} and {n}:"), target=str(n))] for n in itertools.count())


def words(seed):
    return (f"word {n} of {seed % 1000}" for n in itertools.count())


def nothing(seed):
    return iter(())


def long(seed):
    return ([Sample("long", Prompt("so " * 500), target="long")] for _ in range(3))


def endless(seed):
    return ([Sample("long", Prompt("so " * 70), target="long")] for _ in itertools.count())


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    for function in (numbers, words, nothing, long, endless):
        monkeypatch.setattr(datasets, f"_{function.__name__}", function, raising=False)


def drawn(name, **options):
    step = {"seed": 0, "step": 0, "length": 64} | {key: options.pop(key) for key in ("seed", "step") if key in options}
    dataset = Dataset("kind", f"kosmos_model.data.datasets:_{name}", **{"tokens": 100} | options)
    return list(documents(dataset, TOKENIZER, **step))


def test_a_step_reads_whole_documents_until_it_has_its_tokens():
    found = drawn("numbers")
    assert sum(map(len, found)) >= 100 > sum(map(len, found[:-1]))


@pytest.mark.parametrize("name", ["numbers", "words"])
def test_what_a_step_reads_depends_on_seed_and_step_alone(name):
    assert drawn(name, step=7) == drawn(name, step=7)
    assert drawn(name, step=7) != drawn(name, step=8)
    assert drawn(name, step=7, seed=1) != drawn(name, step=7)


def test_the_seeds_of_steps_differ_wherever_a_name_does():
    assert len({seed_of(0, 1, "a"), seed_of(1, 0, "a"), seed_of(0, 1, "b"), seed_of(0, 11, "a")}) == 4


def test_texts_are_packed_up_to_the_longest_document():
    assert all(32 < len(document) <= 64 for document in drawn("words", tokens=200)[:-1])


def test_an_empty_dataset_says_so():
    with pytest.raises(BadData, match=r"dataset kind \(.*:_nothing\) is empty; expected lessons or texts without end"):
        drawn("nothing")


@pytest.mark.parametrize("name", ["long", "endless"])
def test_a_dataset_whose_every_document_is_too_long_says_so(name):
    with pytest.raises(BadData, match="has no document of at most 64 tokens"):
        drawn(name)


@pytest.mark.parametrize(
    "source", ["kosmos_model.nowhere:f", "kosmos_model.modeling.tokenizer:nothing", "no colon", ":f"]
)
def test_a_source_that_cannot_be_loaded_is_named(source):
    with pytest.raises(PlugInError, match=f"dataset '{source}' cannot be loaded .*; expected package.module:function"):
        resolve(source)


def test_training_imports_no_task():
    folder = Path(kosmos_model.__file__).parent
    for path in [folder / "commands.py", *folder.glob("data/*.py"), *folder.glob("training/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "kosmos_tasks"], path


def test_what_is_alone_silences_the_others_while_it_runs():
    made = [
        Dataset("first", "", 9, until=2, alone=True),
        Dataset("too", "", 9, after=1, until=3, alone=True),
        Dataset("all", "", 9),
        Dataset("later", "", 9, after=3),
    ]
    read = [[(number, dataset.kind) for number, dataset in datasets.running(made, step)] for step in range(4)]
    assert read == [[(0, "first")], [(0, "first"), (1, "too")], [(1, "too")], [(2, "all"), (3, "later")]]
