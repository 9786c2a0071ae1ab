from dataclasses import dataclass, replace

import pytest

from kosmos_eval import Prompt, Sample, Source
from kosmos_eval.analysis.published import beside
from kosmos_eval.evaluation.plan import Setting
from kosmos_eval.evaluation.results import Row

ROW = Row("coco_caption", 0, "CIDEr", 1.0, 0.9, 1.1, "", 3, 0, None, None, 0, "")


@dataclass(frozen=True)
class Captions:
    source: Source = Source("data", None, "test")
    beams: int = 5

    @property
    def split(self):
        return self.source.split


def cell(task=None, count=3, **rest):
    samples = [Sample(str(n), Prompt("?")) for n in range(count)]
    return Setting("t", task or Captions(), 0, 0, samples, (), False, split=samples, **rest)


def test_the_papers_number_stands_beside_a_run_of_its_protocol_on_the_rows_own_scale():
    found = beside(ROW, cell())
    assert (found.value, found.unverified) == (0.847, False)


def test_a_number_from_memory_is_unverified():
    assert beside(replace(ROW, shots=4, effective_shots=4), cell()).unverified


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        (ROW, cell(Captions(Source("synthetic")))),
        (ROW, cell(Captions(Source("data", None, "val2017")))),
        (ROW, cell(Captions(beams=1))),
        (ROW, replace(cell(), samples=cell().samples[:2])),
        (replace(ROW, failed=1), cell()),
        (replace(ROW, variant="images=blank"), cell()),
        (replace(ROW, shots=4, effective_shots=3.5), cell()),
        (replace(ROW, metric="Bleu_1"), cell()),
    ],
    ids=["synthetic", "split", "option", "subset", "failed", "blind", "fewer shots", "metric"],
)
def test_another_protocol_has_no_number_of_the_paper(row, asked):
    assert beside(row, asked) is None


@pytest.mark.parametrize(
    ("task", "metric", "split", "n", "shown"),
    [
        ("vqav2", "vqa_accuracy", "test-dev2015", 9, True),
        ("vqav2", "vqa_accuracy", "test2015", 9, False),
        ("hateful_memes", "roc_auc", "dev_seen", 9, True),
        ("hateful_memes", "roc_auc", "test_seen", 9, False),
        ("imagenet", "accuracy_constrained", "val", 50_000, True),
        ("imagenet", "accuracy_constrained", "val", 84, False),
        ("raven_iq", "accuracy", "iq50", 50, True),
        ("raven_iq", "accuracy", "test", 50, False),
        ("piqa", "acc_norm", "valid", 9, True),
    ],
)
def test_splits_are_matched_by_the_names_that_benchmarks_give_them(task, metric, split, n, shown):
    asked = cell(Captions(Source("data", None, split)))
    assert (beside(replace(ROW, task=task, metric=metric, n=n), asked) is not None) == shown


@dataclass(frozen=True)
class Worded(Captions):
    source: Source = Source("data", None, "valid")
    prompt: str = "lm-eval"


@pytest.mark.parametrize(
    ("task", "variant", "asked", "shown"),
    [
        ("piqa", "prompt=gpt3", Worded(prompt="gpt3"), 72.9),
        ("piqa", "prompt=gpt3,seed=1", Worded(prompt="gpt3"), None),
        ("piqa", "prompt=gpt3", Worded(prompt="gpt3", beams=1), None),
        ("coco_caption", "prompt=short", Worded(prompt="short"), None),
    ],
)
def test_another_wording_has_the_papers_number_only_where_the_paper_states_none(task, variant, asked, shown):
    found = beside(replace(ROW, task=task, metric="acc_per_token", variant=variant), cell(asked))
    assert (found and found.value) == shown
