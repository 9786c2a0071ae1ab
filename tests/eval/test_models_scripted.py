import json

import PIL.Image
import pytest

from kosmos_eval.errors import ModelError
from kosmos_eval.model import Model
from kosmos_eval.models.scripted import load
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Completion, Failure, Generate, Likelihoods, LogLikelihood, Sampling


def answer(model, request):
    ((index, output),) = model.answers([request])
    assert index == 0
    return output


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.jsonl"
    lines = [{"contains": "colour", "text": " red\n"}, {"contains": "<image> What", "text": "a cat. And more"}]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n", encoding="utf-8")
    return path


def test_a_script_says_its_text():
    assert isinstance(load(), Model)
    assert answer(load(), Generate(Prompt("a"))) == Completion("")
    assert answer(load("yes it is"), Generate(Prompt("a"))) == Completion("yes it is", tokens=3)
    assert (load().name, load("yes").name) == ("scripted", "scripted:yes")


def test_a_text_ends_before_the_first_stop_string():
    assert answer(load("yes, it is"), Generate(Prompt("a"), stop=("is", ","))).text == "yes"


def test_a_fixed_text_leaves_continuations_exactly_tied():
    request = LogLikelihood(Prompt("a"), (" yes", " not at all"))
    assert answer(load("yes"), request) == Likelihoods((-1.0, -1.0), (1, 1), (False, False))


def test_a_rule_makes_its_own_continuation_the_likeliest(rules):
    request = LogLikelihood(Prompt("colour?"), (" blue", " red"))
    assert answer(load(f"@{rules}"), request) == Likelihoods((-1.0, 0.0), (1, 1), (False, True))


def test_the_choice_is_the_one_that_is_said_or_the_first(rules):
    assert answer(load("red"), Generate(Prompt("a"), choices=(" blue", " red"))).text == " red"
    assert answer(load("green"), Generate(Prompt("a"), choices=(" blue", " red"))).text == " blue"
    assert answer(load(f"@{rules}"), Generate(Prompt("colour"), choices=("blue", "red"))).text == "red"


def test_the_first_rule_that_matches_answers(rules):
    model = load(f"@{rules}")
    picture = Image.drawn(PIL.Image.new("RGB", (4, 4)))
    assert answer(model, Generate(Prompt("What colour?"))).text == " red\n"
    assert answer(model, Generate(Prompt("x", picture, " What is this?"), stop=(".",))).text == "a cat"
    assert answer(model, Generate(Prompt("What is this?"))).text == ""


def test_a_dry_run_finds_an_image_that_cannot_be_decoded(tmp_path):
    requests = [
        Generate(Prompt(Image(tmp_path / "gone.jpg"), "a")),
        Generate(Prompt("a")),
        LogLikelihood(Prompt(Image(b"GIF"), "a"), ("b",)),
    ]
    outputs = dict(load("yes").answers(requests))
    assert isinstance(outputs[0], Failure)
    assert "gone.jpg" in outputs[0].reason
    assert outputs[1].text == "yes"
    assert "cannot be decoded" in outputs[2].reason


def test_the_fingerprint_is_of_what_the_script_says(rules, tmp_path):
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(rules.read_bytes())
    assert load(f"@{rules}").fingerprint == load(f"@{copy}").fingerprint
    assert len({load(f"@{rules}").fingerprint, load("yes").fingerprint, load().fingerprint}) == 3


@pytest.mark.parametrize("line", ['{"contains": "a"}', '{"contains": "a", "text": 1}', '{"contains": "a", ', "[]"])
def test_a_line_that_is_no_rule_is_named(tmp_path, line):
    path = tmp_path / "rules.jsonl"
    path.write_text('{"contains": "a", "text": "b"}\n' + line, encoding="utf-8")
    with pytest.raises(ModelError, match=r"rules\.jsonl:2 is no rule"):
        load(f"@{path}")


def test_a_script_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"cannot read the script .*none\.jsonl"):
        load(f"@{tmp_path}/none.jsonl")


def test_a_script_cannot_sample_and_says_so():
    with pytest.raises(ModelError, match="scripted:a cannot sample: it always says the same; ask for greedy decoding"):
        dict(load("a").answers([Generate(Prompt("x"), sampling=Sampling())]))
