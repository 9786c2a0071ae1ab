"""ColorTerms: prompts, scores, and what can be wrong."""

from pathlib import Path

import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.source import Source
from kosmos_tasks.color_terms import ColorTerms
from kosmos_tasks.memory_color import COLORS


def at(root: Path, text: str = "object,color\nash,grey\nbanana,yellow\n") -> ColorTerms:
    (root / "color-concrete-objects.csv").write_text(text)
    return ColorTerms(Source("data", root))


def test_the_zero_shot_prompt_offers_eleven_colors(tmp_path: Path) -> None:
    task = at(tmp_path)
    (request,) = task.requests(task.samples()[0], [])
    assert request == LogLikelihood(Prompt("The color of ash is?"), tuple(f" {color}" for color in COLORS))
    assert len(COLORS) == 11


def test_the_one_shot_prompt_shows_another_thing_above(tmp_path: Path) -> None:
    task = at(tmp_path)
    sample, shot = task.samples()
    (request,) = task.requests(sample, [shot])
    assert request.prompt == Prompt("The color of banana is? yellow\nThe color of ash is?")


def test_colors_that_tie_share_the_credit(tmp_path: Path) -> None:
    task = at(tmp_path)
    output = Likelihoods((-1.0,) * 11, (1,) * 11, (False,) * 11)
    assert task.score(task.samples()[0], [output]).values["accuracy"] == pytest.approx(1 / 11)


def test_a_malformed_row_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"line 3 of .*color-concrete-objects\.csv has 'color' 'gray'; expected one of"):
        at(tmp_path, "object,color\nash,grey\nfog,gray\n").samples()


def test_real_things_load(real_data: Path) -> None:
    samples = list(ColorTerms(Source("data", real_data)).samples())
    assert len(samples) == 52
    assert {sample.target for sample in samples} == set(COLORS) - {"purple"}
