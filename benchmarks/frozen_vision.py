"""Steps of training in which the image encoder is frozen, against the same steps in which it is trained.

Both sides read the lessons of matrices that the recipe `nano` reads alone. Frozen, an image that comes again is not
encoded again; before the race so many steps are read that most panels have come.

    python -m benchmarks.frozen_vision [--before 40] [--steps 4]
"""

from __future__ import annotations

from argparse import ArgumentParser

import torch
from torch import Tensor

from benchmarks.timing import one_thread, race
from kosmos_model.adapters.kosmos import WEIGHTS
from kosmos_model.data.batches import Batches, Plan
from kosmos_model.modeling.checkpoint import fill, read_weights
from kosmos_model.modeling.kosmos import build
from kosmos_model.modeling.tokenizer import Tokenizer
from kosmos_model.training import recipes
from kosmos_model.training.optim import accumulate, optimiser, update


def main() -> None:
    """The command."""
    parser = ArgumentParser(prog="python -m benchmarks.frozen_vision")
    parser.add_argument("--before", type=int, default=40, help="steps read before the race")
    parser.add_argument("--steps", type=int, default=4, help="steps of each run")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    one_thread()
    recipe = recipes.read("nano")
    config = recipes.shaped(recipe)
    tokenizer = Tokenizer.read(recipe.tokenizer, slots=config.latents)
    plan = Plan(recipe.datasets, 0, recipe.context_length, recipe.micro_batch_tokens, config.image_size)
    drawn = Batches(plan, tokenizer)
    first = recipe.freeze_vision_steps[0]
    batches = [drawn[step] for step in range(first, first + asked.before + asked.steps)]
    sides = []
    for frozen in (True, False):
        model = build(config, seed=0).eval()  # without dropout both see the same
        fill(model, read_weights(WEIGHTS), source=WEIGHTS)
        model.vision.freeze(frozen)
        sides.append((model, optimiser(model, recipe)))
    for batch in batches[: asked.before]:
        with torch.no_grad():
            for part in batch:
                sides[0][0].embed_images(part.pixels)

    def steps(side: int) -> Tensor:
        model, muon = sides[side]
        found = []
        for batch in batches[asked.before :]:
            found.append(accumulate(model, batch, datasets=len(recipe.datasets)))
            update(muon, learning_rate=0.0, clip=recipe.clip)  # the weights stay, so every run does the same
        return torch.stack(found)

    timed, ours, (theirs,) = race(lambda: steps(0), [lambda: steps(1)], rounds=asked.rounds)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    tokens = int(ours[..., 2].sum())
    print(f"{asked.steps} steps of {tokens / asked.steps:,.0f} tokens  {timed}")


if __name__ == "__main__":
    main()
