"""StoryCloze: prompts, the official csv, which split shows what, scores, and what can be wrong."""

from pathlib import Path

import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.source import Source
from kosmos_tasks.storycloze import StoryCloze

HEADER = "InputStoryid,InputSentence1,InputSentence2,InputSentence3,InputSentence4,"
HEADER += "RandomFifthSentenceQuiz1,RandomFifthSentenceQuiz2,AnswerRightEnding\n"
TEST = "cloze_test_test__spring2016 - cloze_test_ALL_test.csv"
VAL = "cloze_test_val__spring2016 - cloze_test_ALL_val.csv"


def at(root: Path, *rows: str, name: str = TEST) -> StoryCloze:
    (root / name).write_text(HEADER + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return StoryCloze(Source("data", root))


def test_the_zero_shot_prompt_is_the_story(tmp_path: Path) -> None:
    task = at(tmp_path, '1,A.,"B, b.",C.,D.,E.,F.,2')
    (sample,) = task.samples()
    assert task.requests(sample, []) == [LogLikelihood(Prompt("A. B, b. C. D."), (" E.", " F."))]
    assert sample.target == "F."


def test_the_one_shot_prompt_shows_a_validation_story_above(tmp_path: Path) -> None:
    at(tmp_path, "9,U.,V.,W.,X.,Y.,Z.,1", name=VAL)
    task = at(tmp_path, "1,A.,B.,C.,D.,E.,F.,2")
    assert task.split == "test"
    (request,) = task.requests(task.samples()[0], task.examples())
    assert request.prompt == Prompt("U. V. W. X. Y.\n\nA. B. C. D.")


def test_the_likelier_ending_counts_under_the_chosen_rule(tmp_path: Path) -> None:
    task = at(tmp_path, "1,A.,B.,C.,D.,E.,F.,2")
    output = Likelihoods((-2.0, -3.0), (1, 3), (False, False))
    assert task.score(task.samples()[0], [output]).values == {"acc": 0.0}
    gpt3 = StoryCloze(task.source, rule="mean per token")
    assert gpt3.score(gpt3.samples()[0], [output]).values == {"acc_per_token": 1.0}
    assert gpt3.notes == ["scored by length-normalised log-likelihood (per token)"]


@pytest.mark.parametrize("row", ["2,A.,B.,C.,D.,E.,F.,0", "2,A.,B.,C.,D.,E.,F.", "2,A.,,C.,D.,E.,F.,1"])
def test_a_malformed_row_is_named(tmp_path: Path, row: str) -> None:
    with pytest.raises(BadData, match=r"line 3 of .*spring2016.* has '.*' .*; expected (some text|one of '1', '2')"):
        at(tmp_path, "1,A.,B.,C.,D.,E.,F.,2", row).samples()
