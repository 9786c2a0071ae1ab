import json

import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Prompt
from kosmos_model.data.corpora import Place
from kosmos_model.data.datasets import Dataset, documents
from kosmos_model.data.instructions import flan, triplets, unnatural
from kosmos_model.modeling.tokenizer import BOS, EOS, NANO, Tokenizer

HERE = Place()
CORE = {
    "instruction": "Name the color.",
    "instances": [
        {
            "instruction_with_input": "Name the color.\nText: a red star",
            "input": "a red star",
            "constraints": "One word.",
            "output": "red",
        },
        {"instruction_with_input": "Name the color.\nText: a blue ring", "input": "a blue ring", "output": " blue "},
    ],
}
COLUMNS = {name: [each.get(name) for each in CORE["instances"]] for name in ("instruction_with_input", "output")}


@pytest.mark.parametrize("instances", [CORE["instances"], COLUMNS], ids=["a list", "columns"])
def test_unnatural_instructions_are_their_instances(instances):
    first, second = unnatural({**CORE, "instances": instances}, HERE)
    assert first.prompt == Prompt("Name the color.\nText: a red star Answer:")
    assert (first.target, second.target) == ("red", "blue")


def test_flan_has_inputs_and_targets():
    row = {"inputs": "Is the sky blue?\nOptions:\n- yes\n- no\nAnswer:", "targets": "yes", "task": "flan"}
    (sample,) = flan(row, HERE)
    assert sample.prompt == Prompt("Is the sky blue?\nOptions:\n- yes\n- no\nAnswer:")
    assert sample.target == "yes"


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"instruction": "Add.", "input": "1 2", "output": "3"}, "Add.\n1 2 Answer:"),
        ({"instruction": "Name a color.", "input": "", "output": "red"}, "Name a color. Answer:"),
        ({"instruction": "Name a color.", "output": "red"}, "Name a color. Answer:"),
    ],
)
def test_a_triplet_may_have_no_input(row, prompt):
    (sample,) = triplets(row, HERE)
    assert sample.prompt == Prompt(prompt)


@pytest.mark.parametrize(
    ("reading", "row", "message"),
    [
        (unnatural, {"instruction": "Add."}, "no column instances among instruction"),
        (unnatural, {"instances": []}, "instances is no list of instruction_with_input and output"),
        (flan, {"inputs": "Add.", "targets": " "}, "the output is empty"),
        (flan, {"inputs": 3, "targets": "3"}, "the instruction is int"),
    ],
)
def test_a_row_that_is_no_instruction_says_why(reading, row, message):
    with pytest.raises(BadData, match=message):
        reading(row, HERE)


def test_the_loss_is_on_outputs_alone(tmp_path):
    (tmp_path / "core.jsonl").write_text(json.dumps({**CORE, "instances": CORE["instances"][:1]}) + "\n")
    tokenizer = Tokenizer.read(NANO, slots=2)
    dataset = Dataset("u", "kosmos_model.data.instructions:unnatural", 5, prompt_weight=0.0, paths=[str(tmp_path)])
    document = next(documents(dataset, tokenizer, seed=0, step=0, length=64))
    output = tokenizer.encode(" red")
    assert document.tokens[0] == BOS
    assert document.tokens[-len(output) - 1 :] == (*output, EOS)
    assert [weight > 0 for weight in document.weights] == [False] * (len(document) - len(output) - 1) + [True] * (
        len(output) + 1
    )
