"""One run of METEOR takes seconds, so one scored set serves all tests that need it; others stand in for it."""

import json
import os
from math import exp
from pathlib import Path

import numpy as np
import pytest

from kosmos_eval.errors import BadData, KosmosEvalError
from kosmos_eval.metrics import java, meteor
from kosmos_eval.metrics.caption import BLEU, _bleu_of_sums, caption_scores, intervals, metrics
from kosmos_eval.metrics.ptb import tokenise
from kosmos_eval.metrics.spice import SpiceUnavailable, spice_scores

CANDIDATES = {
    "same": "A black dog runs on the grass.",
    "short": "a red bus",
    "empty": "",
    "broken": "two\u2028cats\x85sleep\non a\rwhite\x1csofa\v\f",
    "bars": "a man ||| rides a horse",
}
REFERENCES = {
    "same": ["a black dog runs on the grass"],
    "short": ["a red bus stops"],
    "empty": ["a plate of food", "some food"],
    "broken": ["Two cats sleep\u2029on a white sofa!"],
    "bars": ["a man ||| rides a horse", "a rider"],
    "unscored": ["the red kite"],
}


@pytest.fixture(scope="module")
def scored():
    """Scored without any Java on the PATH; the installed package must come out untouched."""
    import pycocoevalcap.meteor.meteor

    package = Path(pycocoevalcap.meteor.meteor.__file__).parents[1]
    before = set(package.rglob("*"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        scores = caption_scores(CANDIDATES, REFERENCES, spice=True)
    assert {path for path in set(package.rglob("*")) - before if "__pycache__" not in path.parts} == set()
    return scores


@pytest.fixture
def without_meteor(monkeypatch):
    monkeypatch.setattr(meteor, "statistics", lambda found, human: [[1.0] * 23 for _ in found])


def of(scores, metric, image):
    return scores.per_image[metric][scores.images.index(image)]


def test_tokens_are_lower_case_words_without_punctuation():
    captions = {"a": ["A man's dog, 1/2 asleep -- \u201chi\u201d!", "..."], "b": ["don't"], "c": []}
    assert tokenise(captions) == {"a": ["a man 's dog 1/2 asleep hi", ""], "b": ["do n't"], "c": []}
    assert tokenise({"c": []}) == {"c": []}


def test_no_line_break_gives_an_image_the_next_ones_caption():
    breaks = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
    captions = {mark: [f"{mark}one{mark}two{mark}", mark, "three"] for mark in breaks}
    assert tokenise(captions) == {mark: ["one two", "", "three"] for mark in breaks}


def test_a_character_that_utf8_cannot_hold_takes_nothing_else_with_it():
    assert tokenise({"a": ["a \ud83d dog"], "b": ["cat"]}) == {"a": ["a dog"], "b": ["cat"]}


def test_a_candidate_equal_to_its_reference_gets_the_full_score(scored):
    for image in ("same", "broken"):
        # CIDEr: every n-gram vector has cosine 1 with itself, times 10.
        expected = {"Bleu_1": 1, "Bleu_4": 1, "METEOR": 1, "ROUGE_L": 1, "CIDEr": 10}
        assert {name: of(scored, name, image) for name in expected} == pytest.approx(expected)


def test_a_short_candidate_pays_brevity_and_recall(scored):
    # 3 of 3 words right, the reference has 4.
    assert of(scored, "Bleu_1", "short") == pytest.approx(exp(1 - 4 / 3))
    assert of(scored, "Bleu_2", "short") == pytest.approx(exp(1 - 4 / 3))
    # F of precision 1 and recall 3/4 with beta 1.2.
    assert of(scored, "ROUGE_L", "short") == pytest.approx((1 + 1.44) * 0.75 / (0.75 + 1.44))
    # Every n-gram is in one image of five but "a" (in all five: no weight), so with all weights equal the cosine is
    # sqrt(2/3) for words, sqrt(2/3) for pairs, sqrt(1/2) for triples; one word less costs exp(-1 / 72).
    cosines = (2 / 3) ** 0.5 + (2 / 3) ** 0.5 + (1 / 2) ** 0.5 + 0
    assert of(scored, "CIDEr", "short") == pytest.approx(10 * cosines / 4 * exp(-1 / 72))


def test_an_empty_caption_scores_nothing_and_moves_nothing(scored):
    assert [of(scored, name, "empty") for name in scored.per_image] == pytest.approx([0] * 7, abs=1e-6)
    assert of(scored, "METEOR", "broken") == 1


def test_bars_in_captions_do_not_break_meteors_protocol(scored):
    assert of(scored, "METEOR", "bars") == pytest.approx(1)
    assert of(scored, "Bleu_1", "bars") == pytest.approx(1)


def test_corpus_bleu_is_of_the_summed_counts(scored):
    guessed, correct, length, reference = 7 + 3 + 0 + 7 + 8, 7 + 3 + 0 + 7 + 8, 25, 7 + 4 + 2 + 7 + 8
    assert [sum(column) for column in zip(*scored.bleu, strict=True)][::4] == [guessed, correct, length]
    assert scored.overall["Bleu_1"] == pytest.approx(correct / guessed * exp(1 - reference / length))


def test_the_corpus_figure_of_cider_and_rouge_is_the_mean(scored):
    for name in ("CIDEr", "ROUGE_L"):
        assert scored.overall[name] == pytest.approx(sum(scored.per_image[name]) / 5)
    assert scored.overall["METEOR"] != pytest.approx(sum(scored.per_image["METEOR"]) / 5, abs=1e-3)


def test_meteor_of_summed_statistics_is_that_of_the_corpus(scored):
    total = [sum(column) for column in zip(*scored.meteor, strict=True)]
    assert meteor.scores([total]) == pytest.approx([scored.overall["METEOR"]] * 2)


def test_where_spice_cannot_run_the_rest_is_scored_and_the_reason_is_one_line(scored):
    if "SPICE" in scored.overall:
        pytest.skip("Stanford CoreNLP is installed")
    assert "\n" not in scored.unavailable["SPICE"]
    assert "stanford-corenlp-3.6.0.jar" in scored.unavailable["SPICE"]
    assert "get_stanford_models" in scored.unavailable["SPICE"]
    assert list(scored.overall) == [*BLEU, "METEOR", "ROUGE_L", "CIDEr"]
    with pytest.raises(SpiceUnavailable):
        spice_scores({"a": "a dog"}, {"a": ["a dog"]})


def test_every_figure_lies_in_its_interval_and_a_seed_repeats_it(scored):
    found, made = intervals(scored, seed=1), metrics(scored, seed=1)
    assert {name: (made[name].low, made[name].high) for name in found} == found
    for name, metric in made.items():
        if name in found:
            assert 0 <= metric.low < metric.value < metric.high <= (10 if name == "CIDEr" else 1)
        assert (metric.value, metric.n, metric.unit) == (scored.overall[name], 5, "")


def test_three_equal_images_of_five_are_too_few_for_an_interval(scored):
    assert scored.per_image["ROUGE_L"].count(1.0) == 3
    assert metrics(scored)["ROUGE_L"].low is None


def test_a_bootstrap_of_bleu_is_the_official_formula_on_resampled_counts(scored):
    # With one image drawn five times the corpus figure is the image's own.
    for image, row in enumerate(scored.bleu):
        ours = _bleu_of_sums(np.array([row]) * 5)[0]
        assert ours == pytest.approx([scored.per_image[name][image] for name in BLEU], abs=1e-6)


@pytest.mark.usefixtures("without_meteor")
def test_one_image_is_scored_and_claims_no_interval():
    scores = caption_scores({"same": CANDIDATES["same"]}, REFERENCES)
    assert scores.overall["Bleu_4"] == pytest.approx(1)
    assert scores.overall["CIDEr"] == 0  # the official rule: one document weighs every n-gram log(1 / 1)
    assert intervals(scores) == {}
    assert (metrics(scores)["Bleu_4"].low, metrics(scores)["Bleu_4"].n) == (None, 1)


@pytest.mark.usefixtures("without_meteor")
def test_a_subset_keeps_the_scale_of_cider_when_the_split_gives_the_frequencies():
    whole = caption_scores(CANDIDATES, REFERENCES, frequencies_from=REFERENCES)
    part = caption_scores({"short": CANDIDATES["short"]}, REFERENCES, frequencies_from=REFERENCES)
    assert part.overall["CIDEr"] == of(whole, "CIDEr", "short") > 0


def test_frequencies_count_images_that_are_not_scored(scored, without_meteor):
    whole = caption_scores(CANDIDATES, REFERENCES, frequencies_from=REFERENCES)
    assert of(whole, "CIDEr", "short") != of(scored, "CIDEr", "short")
    same = caption_scores(CANDIDATES, REFERENCES, frequencies_from={k: REFERENCES[k] for k in CANDIDATES})
    assert same.per_image["CIDEr"] == scored.per_image["CIDEr"]


def test_captions_that_cannot_be_scored_are_named():
    with pytest.raises(BadData, match="no captions to score"):
        caption_scores({}, REFERENCES)
    with pytest.raises(BadData, match=r"image x has a caption to score but no reference \(2 such\)"):
        caption_scores({"x": "a dog", "same": "a dog", "y": "a cat"}, {**REFERENCES, "y": []})


def test_a_java_program_that_fails_is_named_with_what_it_says():
    with pytest.raises(KosmosEvalError, match=r"METEOR ended with code 1 and says: .*no\.jar"):
        java.run(["-jar", "no.jar"], program="METEOR")


def test_spice_marks_are_read_by_image(monkeypatch, tmp_path):
    """The program itself is stood in for: it needs a parser of 400 MB."""
    from pycocoevalcap.spice import spice

    asked = []

    def program(arguments, *, program):
        given, made = (Path(arguments[arguments.index(flag) + 1]) for flag in (jar, "-out"))
        asked.extend(json.loads(given.read_text()))
        marks = [{"image_id": "b", "scores": {"All": {"f": None}}}, {"image_id": "a", "scores": {"All": {"f": 0.25}}}]
        made.write_text(json.dumps(marks))

    jar = tmp_path / spice.SPICE_JAR
    (tmp_path / "lib").mkdir()
    for name in ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"):
        (tmp_path / "lib" / name).touch()
    monkeypatch.setattr(spice, "__file__", str(tmp_path / "spice.py"))
    monkeypatch.setattr(java, "run", program)
    assert spice_scores({"a": "a dog", "b": ""}, {"a": ["dog"], "b": ["x"]}) == pytest.approx(
        [0.25, float("nan")], nan_ok=True
    )
    assert asked[0] == {"image_id": "a", "test": "a dog", "refs": ["dog"]}


@pytest.mark.realdata
def test_a_real_systems_captions_get_the_official_figures():
    folder = os.environ.get("KOSMOS_EVAL_DATA")
    if not folder:
        pytest.skip("KOSMOS_EVAL_DATA is not set")
    root, name = Path(folder), "coco/results/captions_val2017_VinVLbase_results.json"
    expected = json.loads((root / "reference_scores.json").read_text())[name]
    references = {}
    for row in json.loads((root / "coco/annotations/captions_val2017.json").read_text())["annotations"]:
        references.setdefault(str(row["image_id"]), []).append(row["caption"])
    given = {str(row["image_id"]): row["caption"] for row in json.loads((root / name).read_text())}
    scores = caption_scores(given, references)
    assert scores.overall == pytest.approx({metric: expected[metric] for metric in scores.overall}, abs=1e-9)
    per_image = dict(zip(scores.images, scores.per_image["CIDEr"], strict=True))
    assert per_image == pytest.approx(expected["CIDEr_per_image"], abs=1e-9)
