"""The accuracy of the VQA challenge, as its official code computes it.

Reference: GT-Vision-Lab/VQA, PythonEvaluationTools/vqaEvaluation/vqaEval.py at commit a013f00 (Simplified BSD licence).
Its behaviour is kept to the letter, slips included, because published figures contain them:

- Where all human answers are equal, nothing is normalised: "The yes." is wrong against ten times "yes".
- ``re.UNICODE`` (32) is passed where the substitution takes a count: only the first 32 full stops go.
- A full stop goes unless a digit follows it: ".5" and "1.5" stay, "5." becomes "5".
- Articles and number words are replaced before contractions get their apostrophe back.

Its leave-one-out compares answers as dicts and relies on their ``answer_id``; leaving out by position is the same thing
where the ids are there, and right where they are not (VizWiz).
"""

import re
from collections.abc import Sequence

from kosmos_eval.errors import BadData

COUNTING = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {"none": "0"} | {word: str(value) for value, word in enumerate(COUNTING)}
ARTICLES = {"a", "an", "the"}
PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
COMMA_IN_NUMBER = re.compile(r"\d,\d")
FULL_STOP = re.compile(r"\.(?!\d)")
MOST_FULL_STOPS = int(re.UNICODE)

CONTRACTED = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock
oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's
where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've
y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
# The official table holds every form that has lost one apostrophe, and one entry that goes the other way.
CONTRACTIONS = {
    word[:place] + word[place + 1 :]: word
    for word in CONTRACTED.split()
    for place, mark in enumerate(word)
    if mark == "'"
} | {"somebody'd": "somebodyd"}


def normalise(text: str) -> str:
    """An answer without case, punctuation and articles, with digits for number words and apostrophes in contractions.

    >>> normalise("The dogs aren't 1,000!"), normalise("TWO.")
    ("dogs aren't 1000", '2')
    """
    words = (NUMBERS.get(word, word) for word in _without_punctuation(text).lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def accuracy(prediction: str, answers: Sequence[str]) -> float:
    """The official VQA accuracy of one question, in 0..1, unrounded.

    It is the mean, over leaving out each human answer in turn, of min(matches among the others / 3, 1). Prediction and
    answers are normalised only where the answers are not all the same.

    Raises:
        BadData: if there are no human answers.
    """
    prediction, humans = _one_line(prediction), [_one_line(answer) for answer in answers]
    if len(set(humans)) > 1:
        prediction, humans = normalise(prediction), [normalise(answer) for answer in humans]
    return _leave_one_out(prediction, humans)


def lenient_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Like `accuracy`, but always normalised, as lmms-eval does; not the challenge's figure.

    >>> lenient_accuracy("Black.", ["black"] * 10), accuracy("Black.", ["black"] * 10)
    (1.0, 0.0)
    """
    return _leave_one_out(normalise(_one_line(prediction)), [normalise(_one_line(answer)) for answer in answers])


def percentage(accuracies: Sequence[float]) -> float:
    """The mean in per cent with two decimals, as the official tool prints it; of one accuracy, a question's own figure.

    >>> percentage([1.0, 0.3, 0.0])
    43.33
    """
    return round(100 * sum(accuracies) / len(accuracies), 2)


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def _without_punctuation(text: str) -> str:
    """Marks become spaces, or nothing where they touch a space anywhere or the text has a number like 1,000."""
    in_number = COMMA_IN_NUMBER.search(text) is not None
    stripped = text
    for mark in PUNCTUATION:
        beside_space = f"{mark} " in text or f" {mark}" in text
        stripped = stripped.replace(mark, "" if beside_space or in_number else " ")
    return FULL_STOP.sub("", stripped, count=MOST_FULL_STOPS)


def _leave_one_out(prediction: str, humans: Sequence[str]) -> float:
    if not humans:
        raise BadData(f"no human answers to score {prediction!r} against; expected the annotation's (VQAv2: ten)")
    matches = [human == prediction for human in humans]
    return sum(min(1.0, (sum(matches) - match) / 3) for match in matches) / len(humans)
