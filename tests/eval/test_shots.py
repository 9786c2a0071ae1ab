import io
from random import Random

import PIL.Image
import pytest

from kosmos_eval import Image, Prompt, Sample
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.evaluation.setup import load_shots
from kosmos_eval.fewshot.selection import FixedShots, RandomShots, Shots, random_shots

POOL = [Sample(f"p{i}", Prompt(f"{i}?"), str(i), group=f"image{i % 10}") for i in range(40)]
ASKED = Sample("q", Prompt("?"), group="image3")


def drawn(count, seed=0, sample=ASKED, pool=POOL):
    return [shot.id for shot in random_shots(sample, pool, count, seed=seed, task="toy")]


def test_shots_come_from_the_random_of_seed_task_and_sample():
    random = Random("0/toy/q")
    first = next(POOL[i] for i in iter(lambda: random.randrange(40), None) if POOL[i].group != "image3")
    assert drawn(1) == [first.id]


def test_a_smaller_count_gives_a_prefix_of_a_larger_one():
    assert drawn(8)[:3] == drawn(3)


def test_another_seed_or_sample_gives_other_shots():
    assert len({tuple(drawn(4)), tuple(drawn(4, seed=1)), tuple(drawn(4, sample=Sample("r", Prompt("?"))))}) == 3


def test_shots_are_distinct_and_never_of_the_samples_own_image():
    shots = random_shots(ASKED, POOL, 36, seed=0, task="toy")
    assert len({shot.id for shot in shots}) == 36
    assert all(shot.group != "image3" for shot in shots)


def test_a_sample_is_not_its_own_demonstration():
    for sample in POOL[:5]:
        assert sample.id not in drawn(36, sample=sample)


def test_the_same_picture_under_another_id_is_not_shown():
    picture = Image(b"same")
    pool = [Sample("other", Prompt(picture, "?"))]
    with pytest.raises(KosmosEvalError, match="only 0 may be shown"):
        drawn(1, sample=Sample("q", Prompt(picture, "!")), pool=pool)


def test_too_many_shots_name_the_task_the_sample_and_what_there_is():
    with pytest.raises(
        KosmosEvalError, match="toy: 37 shots are asked for sample q, but of its 40 demonstrations only 36"
    ):
        drawn(37)


def test_a_demonstration_that_does_not_decode_is_passed_over():
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (4, 4)).save(buffer, "PNG")
    pool = [Sample("bad", Prompt(Image(b"torn"), "?")), Sample("good", Prompt(Image(buffer.getvalue()), "?"))]
    assert drawn(1, pool=pool) == ["good"]


def fixed(count, sample=ASKED, pool=POOL, seed=0):
    return [shot.id for shot in FixedShots().draw(sample, pool, count, seed=seed, task="toy")]


def test_fixed_shots_are_the_same_for_every_sample_but_those_that_are_among_them():
    shown = fixed(3, Sample("a", Prompt("?")))
    assert fixed(3, Sample("b", Prompt("?"))) == shown
    assert fixed(3, Sample("a", Prompt("?")), seed=1) != shown
    among = next(shot for shot in POOL if shot.id == shown[1])
    stand_in = fixed(10, Sample("a", Prompt("?")))[3:]
    assert fixed(3, among) == [shown[0], shown[2], next(id for id in stand_in if id[-1] != shown[1][-1])]


def test_fixed_shots_say_how_many_samples_see_others():
    choice = FixedShots()
    assert choice.note([Sample("q", Prompt())], POOL, 2, seed=0, task="toy") == "fixed shots"
    said = choice.note([shot.outline for shot in POOL], POOL, 2, seed=0, task="toy")
    assert said == "fixed shots (8 samples, which are among them, see others)"  # two groups of four


def test_a_task_that_chooses_its_own_demonstrations_refuses_fixed_ones():
    with pytest.raises(KosmosEvalError, match="toy chooses its own demonstrations; evaluate it without --shots-from f"):
        FixedShots().prepare([ASKED], (), task="toy")


def test_zero_shots_need_no_encoder():
    assert load_shots([0], "rices") == Shots((0,), RandomShots())
