"""Requests without the right pictures: what is still answered right comes from words and habit, not from sight.

``blank``: every image of a prompt, those of demonstrations too, becomes a grey one of its own size. Every token and
every position stays, only what there was to see goes. Grey (128, 128, 128) is the middle of the range and near the
mean of photographs, so that a model's normalisation takes it to about 0; black or white could be seen as something.

``shuffled``: the images of the question, which are the last ones of a prompt, become those of another sample of the
task, in the same places; demonstrations keep theirs. What is left is real pictures in the usual form, about something
else. All images of a question come from one other sample: in place of a Raven puzzle stands a whole other one with its
own candidates, of which the right one stands at a place of its own, so that even who solves it lands on chance (were
only the context exchanged, the candidates alone could give the answer away). In VQA what remains is what the questions
give away by themselves. The other sample is drawn from the whole split as demonstrations are: never the sample itself,
nor one of its group or with one of its images, and the same one whatever the limit.

``none``: the images are left out, and the text around them closes up.

Nothing is copied: a request is changed when it is made, and an image is opened when its size is asked for.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import cycle

from kosmos_eval.errors import BadImage, KosmosEvalError
from kosmos_eval.fewshot.selection import random_shots
from kosmos_eval.prompt import Image, Part, Prompt
from kosmos_eval.request import Request
from kosmos_eval.sample import Sample

GREY = (128, 128, 128)


def blanked(requests: Sequence[Request]) -> list[Request]:
    """The requests with every image grey."""
    return [_replaced(request, [blank(image) for image in request.prompt.images]) for request in requests]


def stripped(requests: Sequence[Request]) -> list[Request]:
    """The requests without images."""
    return [_replaced(request, [""] * len(request.prompt.images)) for request in requests]


def exchanged(requests: Sequence[Request], bare: Sequence[Request], others: Sequence[Request]) -> list[Request]:
    """The requests with the images of the question exchanged.

    Args:
        requests: what is asked about a sample.
        bare: the same without demonstrations, which tells how many of the images are the question's.
        others: what is asked about the other sample without demonstrations; where it has fewer images, they are
            repeated, and where it has none, grey ones take their places.
    """
    found = []
    for number, (request, alone) in enumerate(zip(requests, bare, strict=True)):
        images, own = request.prompt.images, alone.prompt.images
        given = others[number % len(others)].prompt.images if others else ()
        source = cycle(given or [blank(image) for image in own])
        found.append(_replaced(request, [*images[: len(images) - len(own)], *(next(source) for _ in own)]))
    return found


def other(sample: Sample, samples: Sequence[Sample], *, seed: int, task: str) -> Sample:
    """The sample whose images are shown in place of a sample's own.

    Raises:
        KosmosEvalError: if there is none of another group with images that decode.
    """
    try:
        return random_shots(sample, samples, 1, seed=seed, task=f"{task}/images")[0]
    except BadImage:
        raise
    except KosmosEvalError as error:
        raise KosmosEvalError(
            f"{task}: no other of the {len(samples)} samples has images that {sample.id} could be shown; "
            "--images shuffled needs samples of at least two images"
        ) from error


def blank(image: Image) -> Image:
    """A grey image of the same size.

    Raises:
        BadImage: if the image cannot be decoded, so that the same samples fail as with the real one.
    """
    return _grey(_decoded(image, image.digest))


@lru_cache(maxsize=256)
def _decoded(image: Image, digest: str) -> tuple[int, int]:
    """The size of an image of this content that is known to decode: a file may be replaced."""
    return image.pixels().size


@lru_cache(maxsize=256)
def _grey(size: tuple[int, int]) -> Image:
    import PIL.Image

    return Image.drawn(PIL.Image.new("RGB", size, GREY))


def _replaced(request: Request, images: Sequence[Part]) -> Request:
    """A request with other parts in the places of its images, in reading order."""
    left = iter(images)
    return replace(
        request, prompt=Prompt(*(part if isinstance(part, str) else next(left) for part in request.prompt.parts))
    )
