import json

import pytest
from PIL import Image as Pixels

from kosmos_eval.errors import BadData, KosmosEvalError
from kosmos_eval.evaluation.evaluator import evaluate
from kosmos_eval.models.scripted import Rule, Scripted
from kosmos_eval.request import Completion
from kosmos_eval.source import Source
from kosmos_tasks.dialogue import Dialogue


def sheet(folder, content):
    (folder / "dialogues.json").write_text(json.dumps(content))
    Pixels.new("RGB", (8, 8), "red").save(folder / "cat.png")
    return Dialogue(Source("data", folder))


CAT = {"id": "cat", "turns": [{"say": "@cat.png What is it?", "expect": ["cat", "kitten"]}, {"say": "Sure?"}]}


def test_each_turn_is_asked_after_the_answers_before_it(tmp_path):
    task = sheet(tmp_path, [CAT])
    (sample,) = task.samples()
    (first,) = task.requests(sample, ())
    assert first.prompt.text() == "<image>Question: What is it? Answer:"
    (second,) = task.follow_up(sample, (), [Completion(" A cat.")])
    assert second.prompt.text() == "<image>Question: What is it? Answer: A cat.\nQuestion: Sure? Answer:"
    assert task.follow_up(sample, (), [Completion(" A cat."), Completion("")]) == ()


def test_a_turn_is_right_where_an_expected_word_occurs(tmp_path):
    task = sheet(tmp_path, [CAT])
    (sample,) = task.samples()
    assert task.score(sample, [Completion(" A Kitten!"), Completion(" ")]).values == {"answered": 0.5, "expected": 1.0}
    assert task.score(sample, [Completion("a catfish"), Completion("yes")]).values == {"answered": 1.0, "expected": 0.0}
    assert task.score(sample, [Completion("a"), Completion("b")]).answer == "a\nb"


def test_turns_may_expect_nothing(tmp_path):
    task = sheet(tmp_path, [{"id": 1, "turns": [{"say": "Hello"}]}])
    (sample,) = task.samples()
    assert task.score(sample, [Completion("hi")]).values == {"answered": 1.0}
    assert (sample.id, sample.target) == ("1", "–")


def test_plain_turns_are_asked_as_they_are(tmp_path):
    sheet(tmp_path, [CAT])
    task = Dialogue(Source("data", tmp_path), form="plain", max_tokens=3)
    (request,) = task.requests(task.samples()[0], ())
    assert (request.prompt.text(), request.max_tokens) == ("<image>What is it?", 3)
    with pytest.raises(KosmosEvalError, match="expected question or plain"):
        Dialogue(form="chatty")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "no list of dialogues"),
        ([], "no list of dialogues"),
        ([{"turns": []}], "dialogue 1 is not"),
        ([CAT, {"turns": [{"say": 1}]}], "dialogue 2 is not"),
        ([{"turns": [{"say": "a", "expect": "b"}]}], "dialogue 1 is not"),
        ([{"turns": [{"say": "@dog.png what?"}]}], "dialogue 1: there is no image"),
        ([CAT, CAT], "an id twice"),
    ],
)
def test_a_malformed_sheet_is_named_in_a_line(tmp_path, content, said):
    with pytest.raises(BadData, match=said):
        sheet(tmp_path, content).samples()


def test_generated_dialogues_are_asked_and_marked():
    report = evaluate(Scripted("yes", (Rule("Is ", "yes"),)), {"dialogue": Dialogue()}, limit=8)
    scores = {row.metric: row.score for row in report.rows}
    assert 0 < scores["answered"] <= 100
    assert 0 < scores["expected"] < 100
    for sample in Dialogue().samples()[:8]:
        assert len(sample.prompt.images) == 1
        assert len(sample.extra["said"]) == len(set(sample.extra["said"])) == 3
