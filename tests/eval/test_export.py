import json
from dataclasses import dataclass, replace
from math import sqrt

import pandas
import pytest

from kosmos_eval import (
    Completion,
    Failure,
    Generate,
    KosmosEvalError,
    Likelihoods,
    LogLikelihood,
    Prompt,
    Sample,
    Score,
    evaluate,
)
from kosmos_eval.analysis.export import export
from kosmos_eval.evaluation.run_config import Environment, load_manifest
from kosmos_eval.model import Model
from kosmos_eval.task import Task

CHOICES = ("yes", "no")


@dataclass(frozen=True)
class Asked(Task):
    """Five questions of two kinds: four with choices, an open one; the fifth fails."""

    def samples(self):
        return [Sample(str(n), Prompt(f"{n}?"), "yes", ("yes", "yes,"), CHOICES, kind="a,b"[n % 2 :]) for n in range(5)]

    def examples(self):
        return [Sample("e", Prompt("e?"), "no")]

    def requests(self, sample, shots):
        open_question = [Generate(sample.prompt)] if sample.id == "3" else []
        return open_question or [LogLikelihood(sample.prompt, CHOICES)]

    def score(self, sample, outputs):
        right = sample.id != "2"
        return Score({"acc": float(right)}, "yes" if right else "=no")


@dataclass(frozen=True)
class Answering(Model):
    name: str = "org/model"
    fingerprint: str = "1"

    def fits(self, request):
        return True

    def answers(self, requests):
        for number, request in enumerate(requests):
            if request.prompt.text() == "4?":
                yield number, Failure("gone")
            elif isinstance(request, Generate):
                yield number, Completion("yes", 2, logprob=-0.5)
            else:
                yield number, Likelihoods((-0.25, -1.5), (1, 1), (True, False))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run whose manifest says what no other machine would change."""
    folder = tmp_path_factory.mktemp("run")
    evaluate(Answering(), {"asked": Asked()}, shots=(0, 1), seed=3, out=folder)
    manifest = load_manifest(folder)
    first, *rest = manifest.settings.items()
    manifest = replace(
        manifest,
        config=replace(manifest.config, model="hf:org/model", tasks={"asked": {"rule": "sum"}}),
        environment=Environment({"kosmos-eval": "0.1.0"}, "abc"),
        started="2026-01-02T00:00:00+00:00",
        settings={first[0]: replace(first[1], data="d1g"), **dict(rest)},
    )
    (folder / "run.json").write_text(manifest.dumps())
    return folder


@pytest.fixture
def written(folder, tmp_path):
    """The files of a format."""
    return lambda form: export(folder, form, out=tmp_path / "deep" / "out")


def test_scores_are_json_with_the_run_beside_them(written):
    (path,) = written("json")
    found = json.loads(path.read_text(encoding="utf-8"))
    assert path.name == "scores.json" and found["model"] == "org/model" and found["run"]["environment"]["git"] == "abc"
    head = found["scores"][0]
    assert (head["task"], head["shots"], head["metric"], head["score"], head["n"]) == ("asked", 0, "acc", 75.0, 4)
    assert head["failed"] == 1 and head["spread"] is None


def test_a_setting_that_failed_whole_has_no_score_in_json_rather_than_nan(tmp_path):
    @dataclass(frozen=True)
    class Broken(Answering):
        def answers(self, requests):
            return ((number, Failure("gone")) for number in range(len(requests)))

    evaluate(Broken(), {"asked": Asked()}, out=tmp_path)
    (path,) = export(tmp_path, "json")
    assert json.loads(path.read_text())["scores"][0]["score"] is None
    assert "NaN" not in path.read_text()


def test_samples_are_a_table_with_the_same_columns_for_every_run(written):
    (path,) = written("parquet")
    table = pandas.read_parquet(path)
    assert len(table) == 10 and list(table["id"][:5]) == list("01234")
    first, wrong, open_one, failed = (table.iloc[place] for place in (0, 2, 3, 4))
    assert (first["task"], first["shots"], first["variant"], first["target"]) == ("asked", 0, "", "yes")
    assert list(first["references"]) == ["yes", "yes,"] and list(first["values"]) == [{"metric": "acc", "value": 1.0}]
    (output,) = first["outputs"]
    assert output["text"] is None and list(output["logprobs"]) == [-0.25, -1.5]
    assert wrong["answer"] == "=no" and wrong["values"][0]["value"] == 0
    assert (open_one["outputs"][0]["text"], list(open_one["outputs"][0]["logprobs"])) == ("yes", [-0.5])
    assert failed["error"] == "gone" and pandas.isna(failed["answer"]) and len(failed["values"]) == 0


def test_results_have_the_shape_of_lm_evaluation_harness(written):
    zero, one = written("lm-eval")
    assert (zero.name, one.name) == ("results-0-shot.json", "results-1-shot.json")
    found = json.loads(zero.read_text(encoding="utf-8"))
    metrics = found["results"]["asked"]
    assert (metrics["alias"], metrics["sample_len"], metrics["acc,none"]) == ("asked", 4, 0.75)
    # Values 1, 1, 0, 1: their standard deviation is 1/2, over the root of four.
    assert metrics["acc_stderr,none"] == pytest.approx(0.5 / sqrt(4))
    assert found["versions"] == {"asked": "0.1.0"} and found["n-shot"] == {"asked": 0}
    assert found["n-samples"] == {"asked": {"original": 5, "effective": 4}}
    assert found["configs"]["asked"]["rule"] == "sum" and found["configs"]["asked"]["num_fewshot"] == 0
    assert found["higher_is_better"]["asked"]["acc"] is True
    assert (found["model_name"], found["model_name_sanitized"]) == ("org/model", "org__model")
    assert (found["config"]["random_seed"], found["git_hash"], found["task_hashes"]) == (3, "abc", {"asked": "d1g"})
    assert found["date"] == 1767312000.0
    assert json.loads(one.read_text(encoding="utf-8"))["n-shot"] == {"asked": 1}


def test_a_figure_that_is_no_mean_of_values_has_the_error_that_its_interval_says(written):
    metrics = json.loads(written("lm-eval")[0].read_text(encoding="utf-8"))["results"]["asked"]
    names = [name for name in metrics if "[" in name]
    assert names == ["acc[;b],none", "acc[;b]_stderr,none", "acc[a;b],none", "acc[a;b]_stderr,none"]
    assert 0.2 < metrics["acc[a;b]_stderr,none"] < 0.3


def test_an_unknown_format_and_a_place_that_cannot_be_written_are_one_line(written, folder, tmp_path):
    with pytest.raises(KosmosEvalError, match="--to xml is not known; expected one of json, parquet, lm-eval"):
        written("xml")
    (tmp_path / "file").touch()
    with pytest.raises(KosmosEvalError, match=r"cannot write to .*; choose another --out"):
        export(folder, "json", out=tmp_path / "file")
