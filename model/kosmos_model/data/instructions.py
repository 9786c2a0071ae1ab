"""Instruction data: an instruction with its input is given, the output is learned (KOSMOS-1 section 3.3).

A recipe names one of these functions as a dataset's ``source`` beside its ``paths``, as
``kosmos_model.data.instructions:unnatural``, and ``prompt_weight = 0.0``, so that the loss is on outputs alone. The
paper does not say what stands between input and output; here it is ``Answer:``, as in its prompts for questions, unless
the input ends in a colon itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from kosmos_eval.errors import BadData
from kosmos_eval.files import Json
from kosmos_eval.prompt import Prompt
from kosmos_eval.sample import Sample
from kosmos_model.data.corpora import Place

CUE = "Answer:"


def unnatural(row: Json, place: Place) -> list[Sample]:
    """Return an instruction of Unnatural Instructions with its instances, the core data or the full.

    The columns are those of https://github.com/orhonovich/unnatural-instructions: ``instruction``, and ``instances``
    with ``instruction_with_input`` and ``output``. Constraints and reformulations are not read: the paper has triplets.
    """
    instances = place.value(row, "instances", "instances")
    if isinstance(instances, Mapping):  # a Parquet list of records, read column by column
        instances = [dict(zip(instances, cells, strict=True)) for cells in zip(*instances.values(), strict=True)]
    if not isinstance(instances, list) or not instances:
        raise BadData("instances is no list of instruction_with_input and output")
    return [
        answered(place.value(each, "given", "instruction_with_input"), place.value(each, "output", "output"))
        for each in instances
    ]


def flan(row: Json, place: Place) -> list[Sample]:
    """Return an example of FLAN v2, https://huggingface.co/datasets/SirNeural/flan_v2: ``inputs``, ``targets``."""
    return [answered(place.value(row, "given", "inputs"), place.value(row, "output", "targets"))]


def triplets(row: Json, place: Place) -> list[Sample]:
    """Return a plain triplet: ``instruction``, ``input`` (which may be empty or missing) and ``output``."""
    instruction, given = place.value(row, "instruction", "instruction"), row.get(place.columns.get("input", "input"))
    return [answered(f"{instruction}\n{given}" if given else instruction, place.value(row, "output", "output"))]


def answered(given: object, output: object) -> Sample:
    """Return a lesson of one instruction and its answer.

    >>> answered("Name a color.", " red ").shown.text()
    'Name a color. Answer: red'

    Raises:
        BadData: if one of them is no text.
    """
    given, output = _text("instruction", given), _text("output", output)
    return Sample("", Prompt(given if given.endswith(":") else f"{given} {CUE}"), target=output)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BadData(f"the {name} is {'empty' if isinstance(value, str) else type(value).__name__}")
    return value.strip()
