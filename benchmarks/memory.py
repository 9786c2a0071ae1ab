"""The peak memory of 1,000 prompts with five 640 x 480 images each, all of them different, above the model's own."""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path

from benchmarks.models import nano
from benchmarks.timing import one_thread
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood


def peak() -> float:
    """The most memory this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def written(folder: Path, count: int) -> list[Image]:
    """Different JPEG files of 640 x 480 pixels."""
    import numpy as np
    import PIL.Image

    random = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        small = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        PIL.Image.fromarray(small).resize((640, 480), PIL.Image.Resampling.BICUBIC).save(path, quality=90)
    return [Image(str(path)) for path in paths]


def main() -> None:
    """Print the peak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=1000)
    asked = parser.parse_args()
    one_thread()
    subject = nano()
    with tempfile.TemporaryDirectory() as folder:
        images = written(Path(folder), 5 * asked.prompts)
        warm = LogLikelihood(Prompt(images[0], "Is it red?"), (" yes", " no"))
        list(subject.answers([warm]))  # libraries take memory of their own when first used
        before = peak()
        prompts = [Prompt(*images[5 * n : 5 * n + 5], "Which of them is red?") for n in range(asked.prompts)]
        found = list(subject.answers([LogLikelihood(prompt, (" first", " last")) for prompt in prompts]))
        assert all(isinstance(output, Likelihoods) for _, output in found)
        more = peak() - before
    print(f"{len(found)} prompts, {5 * len(found)} images: {more:,.0f} MB above the model ({before:,.0f} MB)")
    assert more < 1000


if __name__ == "__main__":
    main()
