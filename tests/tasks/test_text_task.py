"""Tasks made of rows: their options survive a run's file, the rule is the user's, GPT-3's reading to the character."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from kosmos_eval.errors import KosmosEvalError, UnknownName
from kosmos_eval.evaluation.plan import plan
from kosmos_eval.evaluation.setup import load_task
from kosmos_eval.evaluation.variant import Variants
from kosmos_eval.prompt import Prompt
from kosmos_eval.registry import named
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.source import Source
from kosmos_eval.task import info
from kosmos_tasks.storycloze import COLUMNS


def test_options_are_the_source_the_rule_and_the_reading_and_make_the_task_again() -> None:
    task = load_task("copa", Source(), {"rule": "mean per token"})
    given = task.options()
    source = {"kind": "synthetic", "root": None, "split": None, "revision": None, "allow_outside": False}
    assert given == {"source": source, "rule": "mean per token", "prompt": "lm-eval"}
    assert load_task("copa", Source(**given.pop("source")), given) == task


def test_a_task_says_what_it_is_and_what_its_headline_is_called() -> None:
    headlines = {name: info(named("task", name)).metric for name in ("piqa", "copa", "memory_color", "winograd")}
    assert headlines == {"piqa": "acc_norm", "copa": "acc", "memory_color": "accuracy", "winograd": "acc"}
    assert str(named("task", "piqa").__doc__).splitlines()[0] == "Which of two ways reaches a goal."


def test_the_users_rule_gives_the_first_mark_in_either_reading() -> None:
    task = load_task("piqa", Source(), {"rule": "mean per token"})
    sample = task.samples()[0]
    output = Likelihoods((-4.0, -4.0), (4, 2), (False, False))
    marks = task.score(sample, [output]).values
    assert list(marks) == ["acc_per_token", "acc_norm", "acc"]
    assert marks["acc_per_token"] == float(sample.target == sample.choices[0])
    assert "scored by length-normalised log-likelihood (per token)" in task.notes
    other = load_task("piqa", Source(), {"rule": "sum", "prompt": "gpt3"})
    assert other.score(sample, [output]).values == {"acc": 0.5}


def test_an_unknown_reading_and_a_rule_for_partial_evaluation_are_refused() -> None:
    with pytest.raises(UnknownName, match="no prompt of copa is called 'gpt4'; did you mean 'gpt3'"):
        load_task("copa", Source(), {"prompt": "gpt4"})
    with pytest.raises(KosmosEvalError, match="winogrande compares the same text after each choice, where no rule"):
        load_task("winogrande", Source(), {"rule": "sum"})
    with pytest.raises(KosmosEvalError, match="expected one of 'usual', 'sum', 'mean per token'"):
        load_task("copa", Source(), {"rule": "mean"})


def lined(*rows: dict[str, Any]) -> str:
    return "\n".join(map(json.dumps, rows))


def told(*stories: tuple[str, ...]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([("InputStoryid", *COLUMNS), *(("id", *story) for story in stories)])
    return out.getvalue()


def schema(before: str, after: str, a: str, b: str, right: str) -> str:
    text = f"<text><txt1>{before}</txt1><pron>it</pron><txt2>{after}</txt2></text>"
    return (
        f"<schema>{text}<answers><answer>{a}</answer><answer>{b}</answer></answers>"
        f"<correctAnswer>{right}</correctAnswer></schema>"
    )


WINDOWS = {"activity_label": "Wash windows", "ctx_a": "[header] A man has a cloth.", "ctx_b": "he", "label": 0}
RAIN = {"premise": "It rained.", "choice1": "We got wet.", "choice2": "We sang.", "question": "effect", "label": 0}
GPT3: dict[str, tuple[dict[str, str], str, tuple[str, ...], str]] = {
    "storycloze": (
        {
            "cloze_test_test__spring2016.csv": told(
                ("Ann ran.", "She fell.", "It hurt.", "She rose.", "She went on.", "She was a cake.", "1"),
                ("A.", "B.", "C.", "D.", "E.", "F.", "2"),
            )
        },
        "Ann ran. She fell. It hurt. She rose.",
        (" She went on.", " She was a cake."),
        "A. B. C. D. F.",
    ),
    "hellaswag": (
        {
            "hellaswag_val.jsonl": lined(
                WINDOWS | {"endings": ["wipes.", "sings.", "eats.", "flies."]},
                WINDOWS | {"ctx_b": "", "endings": ["a", "b", "c", "d"], "label": 3},
            )
        },
        "Wash windows: A man has a cloth. He",
        (" wipes.", " sings.", " eats.", " flies."),
        "Wash windows: A man has a cloth. d",
    ),
    "piqa": (
        {
            "valid.jsonl": lined(
                {"goal": "How to dry wood.", "sol1": "Use a towel.", "sol2": "Use a towel made of water."},
                {"goal": "G.", "sol1": "S.", "sol2": "T."},
            ),
            "valid-labels.lst": "0\n1\n",
        },
        "How to dry wood.",
        (" Use a towel.", " Use a towel made of water."),
        "G. T.",
    ),
    "boolq": (
        {
            "val.jsonl": lined(
                {"passage": "Snow -- Snow {is} white.", "question": "is snow black", "label": False},
                {"passage": "P.", "question": "q", "label": True},
            )
        },
        "Snow -- Snow {is} white.\nquestion: is snow black?\nanswer:",
        (" no", " yes"),
        "P.\nquestion: q?\nanswer: yes",
    ),
    "cb": (
        {
            "val.jsonl": lined(
                {"premise": "He may go.", "hypothesis": "he may go", "label": "entailment"},
                {"premise": "P.", "hypothesis": "H", "label": "neutral"},
            )
        },
        "He may go.\nquestion: he may go. true, false, or neither?\nanswer:",
        (" true", " false", " neither"),
        "P.\nquestion: H. true, false, or neither?\nanswer: neither",
    ),
    "copa": (
        {"val.jsonl": lined(RAIN, RAIN | {"question": "cause", "choice2": "It was cold.", "label": 1})},
        "It rained therefore",
        (" we got wet.", " we sang."),
        "It rained because it was cold.",
    ),
}
PARTIAL = {
    "winograd": (
        {
            "WSCollection.xml": "<collection>"
            + schema("The cup fell on the mat and", "broke.", "the cup", "the mat", "A")
            + schema("Stone hit glass and", "broke.", "stone", "glass", "B")
            + "</collection>"
        },
        ("The cup fell on the mat and the cup", "The cup fell on the mat and the mat"),
        " broke.",
        "Stone hit glass and glass broke.",
    ),
    "winogrande": (
        {
            "dev.jsonl": lined(
                {
                    "qID": "A-1",
                    "sentence": "Ann met Bea, so _ left.",
                    "option1": "Ann",
                    "option2": "Bea",
                    "answer": "1",
                },
                {"qID": "B-1", "sentence": "Go, _ !", "option1": "Al", "option2": "Bo", "answer": "2"},
            )
        },
        ("Ann met Bea, so Ann", "Ann met Bea, so Bea"),
        " left.",
        "Go, Bo !",
    ),
}


def reading(name: str, root: Path, files: dict[str, str]) -> Any:
    for file, content in files.items():
        (root / file).write_text(content)
    task = load_task(name, Source("data", root), {"prompt": "gpt3"})
    assert task.notes[-1] == "prompt gpt3"
    return task


@pytest.mark.parametrize("name", GPT3)
def test_gpt3s_prompts_at_0_and_1_shot_and_its_mean_over_tokens(name: str, tmp_path: Path) -> None:
    files, prompt, continuations, shown = GPT3[name]
    task = reading(name, tmp_path, files)
    sample, shot = task.samples()
    assert task.requests(sample, []) == [LogLikelihood(Prompt(prompt), continuations)]
    assert task.requests(sample, [shot]) == [LogLikelihood(Prompt(f"{shown}\n\n{prompt}"), continuations)]
    # The first choice has -1.5 a token, the second -2, others -9; by sums the second would be preferred.
    others = len(continuations) - 2
    output = Likelihoods((-3.0, -2.0, *[-9.0] * others), (2, 1, *[1] * others), (False,) * len(continuations))
    right = float(sample.target == sample.choices[0])
    score = task.score(sample, [output])
    assert (dict(score.values), score.answer) == ({"acc_per_token": right}, continuations[0].strip())
    assert right == 1.0


@pytest.mark.parametrize("name", PARTIAL)
def test_gpt3s_partial_evaluation_at_0_and_1_shot(name: str, tmp_path: Path) -> None:
    files, contexts, ending, shown = PARTIAL[name]
    task = reading(name, tmp_path, files)
    sample, shot = task.samples()
    assert task.requests(sample, []) == [LogLikelihood(Prompt(context), (ending,)) for context in contexts]
    assert [request.prompt for request in task.requests(sample, [shot])] == [
        Prompt(f"{shown}\n\n{context}") for context in contexts
    ]
    outputs = [Likelihoods((value,), (2,), (False,)) for value in (-2.0, -3.0)]
    assert task.score(sample, outputs).values == {"acc": 1.0}
    assert task.score(sample, outputs[::-1]).values == {"acc": 0.0}


@pytest.mark.parametrize("name", [*GPT3, *PARTIAL])
def test_a_run_asks_both_readings_beside_each_other(name: str) -> None:
    made = plan({name: load_task(name, Source())}, shots=[1], limit=1, variants=Variants(prompts=("all",)))
    assert [str(setting.key.variant) for setting in made] == ["", "prompt=gpt3"]
    assert made[0].samples[0].id == made[1].samples[0].id
