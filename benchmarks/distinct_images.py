"""Questions with 4 random demonstrations: the engine encodes as many images as are different, and no more.

The other side runs the same image encoder once per occurrence, in batches of 64.
"""

from __future__ import annotations

import argparse
from random import Random

import torch
from torch import Tensor

from benchmarks.models import MODELS, engine, images
from benchmarks.timing import one_thread, race
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import LogLikelihood

BATCH = 64


def main() -> None:
    """Print images asked and encoded, and what their encoding costs on both sides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--pool", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    one_thread()
    subject, random = MODELS["nano"](), Random(0)
    pictures = images(asked.pool)
    requests = []
    for _ in range(asked.questions):
        *shown, query = random.sample(pictures, 5)
        parts = [Prompt(image, "Question: What color is it? Answer: blue") for image in shown]
        last = Prompt(query, "Question: What color is it? Answer:")
        requests.append(LogLikelihood(Prompt.join([*parts, last], separator="\n"), (" blue", " red")))
    occurring = [image for request in requests for image in request.prompt.images]
    different = {image.digest: image for image in occurring}

    @torch.inference_mode()
    def ours() -> dict[str, Tensor]:
        return engine(subject).image_cache.embeddings(different)[0]

    @torch.inference_mode()
    def theirs() -> Tensor:
        starts = range(0, len(occurring), BATCH)
        parts = [torch.stack([subject.pixels(one) for one in occurring[start : start + BATCH]]) for start in starts]
        return torch.cat([subject.model.embed_images(part) for part in parts])

    timed, found, (expected,) = race(ours, [theirs], rounds=asked.rounds)
    torch.testing.assert_close(torch.stack([found[image.digest] for image in occurring]), expected, atol=1e-4, rtol=0)
    whole = engine(subject)
    answered = len(list(whole.answers(requests)))
    assert whole.image_cache.encoded == len(different)
    print(f"{answered} questions, {len(occurring)} images asked, {whole.image_cache.encoded} encoded  {timed}")


if __name__ == "__main__":
    main()
