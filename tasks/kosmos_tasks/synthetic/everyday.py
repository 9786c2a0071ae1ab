"""Small items about everyday things, in the columns of each language benchmark: their synthetic splits.

A handful of facts is behind them, so they are a trial of the machinery and of the plainest common sense, no measure of
knowledge. No fact is on both sides.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from random import Random

from kosmos_eval.source import Row
from kosmos_tasks.synthetic.opinions import words
from kosmos_tasks.synthetic.recipe import Split, stream

COUNT = 40
"""Items of a side."""

EVENTS = tuple(
    tuple(line.split(" > "))
    for line in """\
The glass fell on the floor. > The glass broke.
The sun came out. > The snow melted.
The man forgot his umbrella. > The man got wet.
The woman missed the bus. > The woman came late to work.
The boy ate too much cake. > The boy felt sick.
The girl studied every day. > The girl passed the test.
The baby was hungry. > The baby cried.
The candle burned all night. > The candle was used up.
The child turned off the lamp. > The room became dark.
The dog smelled the meat. > The dog ran to its bowl.
The wind blew hard. > The hat flew away.
The farmer watered the plants. > The plants grew.
The phone rang at night. > The man woke up.
The driver saw a red light. > The driver stopped the car.
The lake froze. > The children went skating.
The cook left the bread in the oven. > The bread burned.
The team scored the last goal. > The team won the game.
The bag had a hole. > The coins fell out.
The girl lost her key. > The girl could not open the door.
The milk stood in the sun. > The milk turned sour.
The man told a joke. > His friends laughed.
The cat saw a mouse. > The cat jumped.
The woman added too much salt. > Nobody liked the soup.
The boy climbed the tree. > The boy could see far.""".splitlines()
)
"""A cause and its effect."""

TOOLS = tuple(
    tuple(line.split(" > "))
    for line in """\
cut bread > a knife
drive in a nail > a hammer
sweep the floor > a broom
write a letter > a pen
open the locked door > a key
eat soup > a spoon
take a picture > a camera
tell the time > a clock
dry the wet hair > a towel
sew on a button > a needle
dig a hole > a shovel
paint the wall > a brush
stay dry in the rain > an umbrella
light the dark room > a lamp
catch a fish > a net
climb onto the roof > a ladder
carry the water > a bucket
call a friend > a phone
wash the hands > some soap
glue the cup > some glue
mail the letter > a stamp
see far away > a telescope
fly to an island > a plane
ring at dinner > a bell""".splitlines()
)
"""A goal and what it takes."""

ACTIVITIES = tuple(
    tuple(line.split(" > "))
    for line in """\
Washing dishes > A woman stands at a sink full of plates. > rubs a plate with a wet sponge.
Playing the piano > A man sits down at a piano. > presses the keys with both hands.
Walking the dog > A girl puts a leash on a dog. > leads the dog down the street.
Baking bread > A man kneads dough on a table. > puts the dough into a hot oven.
Brushing teeth > A boy puts toothpaste on a brush. > moves the brush over his teeth.
Swimming > A woman stands at the edge of a pool. > jumps into the water and swims.
Fishing > A man sits in a small boat with a rod. > pulls a fish out of the lake.
Riding a bike > A girl puts on a helmet. > gets on the bike and rides off.
Painting a fence > A man opens a can of white paint. > dips a brush and paints the boards.
Reading > A woman takes a book from the shelf. > opens it at the first page.
Mowing the lawn > A man pulls a mower over high grass. > cuts the grass in straight lines.
Building a snowman > A boy rolls a big ball of snow. > puts a carrot in as the nose.
Ironing > A woman lays a shirt on a board. > moves the hot iron over the cloth.
Playing chess > An old man sets up the pieces. > moves a pawn two squares forward.
Making tea > A girl boils water in a kettle. > pours the water over the tea leaves.""".splitlines()
)
"""Activities: what somebody does, how it begins, how it goes on."""

NAMES = words("Anna Ben Clara David Emma Frank Grace Henry Iris Jack Kate Leo Mary Nick Olga Paul Rose Sam Tina Walter")
COLORS = words("red blue green yellow black white")
BELONGINGS = words("ball cup hat bag car kite pen shirt bike lamp coat chair")
HOLDERS = words("box suitcase drawer basket trunk cupboard")
SIZED = words("trophy statue guitar toy clock vase violin pillow painting radio")
FITS = (("big", 0), ("large", 0), ("wide", 0), ("small", 1), ("narrow", 1), ("tiny", 1))
"""Reasons why a thing does not go into another, and whether it is the thing's fault (0) or the other's (1)."""


def _rows(draw: Callable[[Random], tuple[object, Row]]) -> Callable[[str], Iterator[Row]]:
    """Return the rows of a side; ``draw`` gives the fact behind a row, which is on one side only, and the row."""

    def rows(split: str) -> Iterator[Row]:
        side: Split = "test" if split == "test" else "train"
        drawn = stream(f"everyday/{draw.__name__}", side, 0, draw=draw, content=lambda item: item[0])
        return (row for _, (_, row) in islice(drawn, COUNT))

    return rows


def _pair(rng: Random, right: str, wrong: str) -> tuple[str, str, int]:
    label = rng.randrange(2)
    return (wrong, right, label) if label else (right, wrong, label)


def _two(rng: Random, facts: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    first, second = rng.sample(facts, 2)
    return first, second


@_rows
def hellaswag(rng: Random) -> tuple[object, Row]:
    """Yield an activity, its beginning and four ways to go on."""
    shown = rng.sample(ACTIVITIES, 4)
    activity, begin, _ = shown[0]
    label = rng.randrange(4)
    endings = [end for *_, end in shown[1:]]
    endings.insert(label, shown[0][2])
    pronoun = "she" if any(word in begin.lower().split() for word in ("woman", "girl")) else "he"
    row = {"activity_label": activity, "ctx_a": begin, "ctx_b": pronoun, "endings": endings, "label": label}
    return activity, row


@_rows
def piqa(rng: Random) -> tuple[object, Row]:
    """Yield a goal and two tools."""
    (goal, tool), (_, other) = _two(rng, TOOLS)
    first, second, label = _pair(rng, f"Use {tool}.", f"Use {other}.")
    return goal, {"goal": f"How do I {goal}?", "sol1": first, "sol2": second, "label": label}


@_rows
def winogrande(rng: Random) -> tuple[object, Row]:
    """Yield sentences about a thing that did not fit, with a blank for the thing or its place."""
    thing, holder, (size, label) = rng.choice(SIZED), rng.choice(HOLDERS), rng.choice(FITS)
    sentence = f"The {thing} did not go into the {holder} because the _ was too {size}."
    row = {"qID": f"{thing} {holder}-{size}", "sentence": sentence, "option1": thing, "option2": holder}
    return (thing, holder), {**row, "answer": "12"[label]}


@_rows
def winograd(rng: Random) -> tuple[object, Row]:
    """Yield the same sentences with a pronoun."""
    thing, holder, (size, label) = rng.choice(SIZED), rng.choice(HOLDERS), rng.choice(FITS)
    left = f"The {thing} could not be put into the {holder} because "
    row = {"text": f"{left}it was too {size}.", "pronoun": "it", "pronoun_loc": len(left)}
    return (thing, holder), {**row, "options": [f"The {thing}", f"The {holder}"], "label": label}


@_rows
def boolq(rng: Random) -> tuple[object, Row]:
    """Yield questions for the color of a thing, which the passage tells."""
    name, (thing, other), (color, second) = rng.choice(NAMES), rng.sample(BELONGINGS, 2), rng.sample(COLORS, 2)
    passage = f"{name} -- {name} has a {color} {thing} and a {second} {other}."
    label = rng.randrange(2)
    question = f"does {name.lower()} have a {color if label else second} {thing}"
    return (name, thing), {"passage": passage, "question": question, "label": label}


@_rows
def cb(rng: Random) -> tuple[object, Row]:
    """Yield texts of what is known or only hoped, labelled entailment 0, contradiction 1 or neutral 2."""
    name, thing, (color, other) = rng.choice(NAMES), rng.choice(BELONGINGS), rng.sample(COLORS, 2)
    label = rng.randrange(3)
    verb = rng.choice(("hopes", "believes", "guesses") if label == 2 else ("knows", "sees", "remembers"))
    premise = f"{name} {verb} that the {thing} is {color}."
    return (name, thing), {
        "premise": premise,
        "hypothesis": f"the {thing} is {other if label == 1 else color}",
        "label": label,
    }


@_rows
def copa(rng: Random) -> tuple[object, Row]:
    """Yield the cause of an effect, or the effect of a cause."""
    right, wrong = _two(rng, EVENTS)
    wanted = rng.randrange(2)
    first, second, label = _pair(rng, right[wanted], wrong[wanted])
    question = ("cause", "effect")[wanted]
    row = {"premise": right[1 - wanted], "choice1": first, "choice2": second, "question": question, "label": label}
    return right, row


@_rows
def storycloze(rng: Random) -> tuple[object, Row]:
    """Yield stories of somebody who wants something, and two things that may be taken in the end."""
    (goal, tool), (_, other) = _two(rng, TOOLS)
    name = rng.choice(NAMES)
    story = (f"{name} wanted to {goal}.", f"{name} could not do it by hand.", "Something was missing.")
    first, second, label = _pair(rng, f"In the end {name} took {tool}.", f"In the end {name} took {other}.")
    told = {f"input_sentence_{place}": sentence for place, sentence in enumerate(story, start=1)}
    told["input_sentence_4"] = f"{name} looked around the house."
    return goal, {**told, "sentence_quiz1": first, "sentence_quiz2": second, "answer_right_ending": label + 1}
