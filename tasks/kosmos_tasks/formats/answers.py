"""Files of external answers: results JSON where the benchmark has one, else one label a line, in the order asked."""

from collections.abc import Collection, Sequence
from pathlib import Path

from kosmos_eval.errors import BadData
from kosmos_eval.files import regular
from kosmos_eval.sample import Sample
from kosmos_eval.source import read_json


def results_json(file: Path, fields: tuple[str, str], known: Collection[str], *, split: str) -> dict[str, str]:
    """Return id to answer, from a list of objects such as COCO's and VQA's results.

    Args:
        file: the results.
        fields: the names of the id and of the answer.
        known: the ids of the split.
        split: its name, for messages.

    Raises:
        BadData: if there is none, an entry is of another form, or an id stands twice or is not among ``known``.
    """
    id_field, answer_field = fields
    wanted = f'{{"{id_field}": ..., "{answer_field}": ...}}'
    entries = read_json(file) if file.is_file() else None
    if not isinstance(entries, list) or not entries:
        raise BadData(f"{file} is no file with a list of answers, or an empty one; expected [{wanted}, ...]")
    found: dict[str, str] = {}
    for place, entry in enumerate(entries):
        try:
            id, answer = str(entry[id_field]), entry[answer_field]
        except (KeyError, TypeError, IndexError) as error:
            raise BadData(f"entry {place} of {file} is not {wanted}; expected a list of these") from error
        if not isinstance(answer, str | int) or isinstance(answer, bool):
            raise BadData(
                f"entry {place} of {file} answers {answer!r}; expected a text, empty where there is no answer"
            )
        if id in found or id not in known:
            problem = "stands twice" if id in found else f"is not in {split}"
            raise BadData(f"{id_field} {id} of {file} {problem}; expected one {answer_field} for each")
        found[id] = str(answer)
    return found


def label_lines(file: Path, samples: Sequence[Sample], *, closed: bool = True) -> dict[str, str]:
    """Return sample id to label.

    Args:
        file: a label a line.
        samples: what was asked, in its order.
        closed: whether a label must be one of the sample's choices.

    Raises:
        BadData: if the file is missing, has another number of lines, or a label that is no choice.
    """
    try:
        regular(file)
        lines = file.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"{file} cannot be read ({error}); expected one label a line") from error
    if len(lines) != len(samples):
        raise BadData(
            f"{file} has {len(lines)} lines for {len(samples)} samples; expected one label for each, in order"
        )
    found = {}
    for number, (line, sample) in enumerate(zip(lines, samples, strict=True), start=1):
        label = line.strip()
        if closed and label not in sample.choices:
            raise BadData(f"line {number} of {file} is {label!r}; expected one of {', '.join(sample.choices)}")
        found[sample.id] = label
    return found
