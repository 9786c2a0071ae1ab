"""Winograd schemas: partial scoring, fitted options, twins as a group, and what can be wrong."""

from pathlib import Path

import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.fewshot.selection import random_shots
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.source import Source
from kosmos_tasks.winograd import Winograd

SCHEMA = """
<schema><text><txt1> {left} </txt1><pron> {pronoun}  </pron><txt2> {right}
</txt2></text><answers><answer>{a} </answer><answer>{b}</answer></answers>
<correctAnswer> {label} </correctAnswer></schema>"""
COUNCIL = {
    "left": "The councilmen met the\nguests because",
    "pronoun": "they",
    "a": "The councilmen",
    "b": "The guests",
}
FEARED = COUNCIL | {"right": "feared them.", "label": "A."}
URGED = COUNCIL | {"right": "urged them.", "label": "B"}
POSSESSIVE = {"left": "Al saw Bo.", "pronoun": "His", "right": "hat fell.", "a": "Al", "b": "Bo", "label": "B"}


def at(root: Path, *schemas: dict[str, str]) -> Winograd:
    collection = f"<collection>{''.join(SCHEMA.format(**schema) for schema in schemas)}</collection>"
    (root / "WSCollection.xml").write_text(collection)
    return Winograd(Source("data", root))


def test_the_text_after_the_pronoun_is_asked_for_after_each_option(tmp_path: Path) -> None:
    task = at(tmp_path, FEARED)
    assert task.requests(task.samples()[0], []) == [
        LogLikelihood(Prompt("The councilmen met the guests because the councilmen"), ("  feared them.",)),
        LogLikelihood(Prompt("The councilmen met the guests because the guests"), ("  feared them.",)),
    ]


def test_an_option_for_a_possessive_is_one(tmp_path: Path) -> None:
    first, _ = at(tmp_path, POSSESSIVE).requests(at(tmp_path, POSSESSIVE).samples()[0], [])
    assert first == LogLikelihood(Prompt("Al saw Bo. Al's"), ("  hat fell.",))


def test_an_article_keeps_its_capital_where_a_sentence_begins(tmp_path: Path) -> None:
    (sample,) = at(tmp_path, {**FEARED, "left": "They met."}).samples()
    assert sample.prompt == Prompt("They met. The councilmen")


def test_the_one_shot_prompt_shows_a_solved_schema_above(tmp_path: Path) -> None:
    task = at(tmp_path, FEARED, POSSESSIVE)
    sample, shot = task.samples()
    first, _ = task.requests(sample, [shot])
    assert first.prompt.text().startswith("Al saw Bo. Bo's  hat fell.\n\nThe councilmen met")


def test_a_twin_is_never_shown(tmp_path: Path) -> None:
    task = at(tmp_path, FEARED, URGED, POSSESSIVE)
    for sample in task.samples()[:2]:
        (shot,) = random_shots(sample, task.examples(), 1, seed=0, task="winograd")
        assert shot.id == "test/2"


def test_the_option_counts_after_which_the_rest_is_likelier(tmp_path: Path) -> None:
    task = at(tmp_path, FEARED, URGED)
    outputs = [Likelihoods((-1.0,), (1,), (False,)), Likelihoods((-2.0,), (1,), (False,))]
    assert [task.score(sample, outputs).values["acc"] for sample in task.samples()] == [1.0, 0.0]


@pytest.mark.parametrize("broken", [{"label": "C"}, {"pronoun": ""}, {"b": ""}])
def test_a_malformed_schema_is_named(tmp_path: Path, broken: dict[str, str]) -> None:
    with pytest.raises(BadData, match=r"schema 2 of .*WSCollection\.xml has no pronoun, two answers, and A or B"):
        at(tmp_path, FEARED, FEARED | broken).samples()


def test_a_cut_collection_is_refused(tmp_path: Path) -> None:
    task = at(tmp_path, FEARED)
    (tmp_path / "WSCollection.xml").write_text("<collection><schema>")
    with pytest.raises(BadData, match="is not complete XML"):
        task.samples()


def test_real_schemas_agree_with_the_masked_file_beside_them(real_data: Path) -> None:
    samples = Winograd(Source("data", real_data)).samples()
    masked = (real_data / "winograd" / "wsc273.txt").read_text().split("\n\n")
    assert len(samples) == len([block for block in masked if block.strip()]) == 273
    assert len(Winograd(Source("data", real_data, "all")).samples()) == 285
    agreed = 0
    for sample, block in zip(samples, masked, strict=False):
        right = plain(block.strip("\n").split("\n")[3])
        label = sample.extra["label"]
        agreed += right in plain(sample.choices[label])
        assert right != plain(sample.choices[1 - label])
    assert agreed > 255, "all but the few that the masked file words in its own way"


def plain(option: str) -> str:
    words = option.lower().replace("'s", "").split()
    return " ".join(word for word in words if word not in ("the", "a", "an"))
