"""Print a digest of every request of every task, so that two versions of the code can be compared.

``python -m benchmarks.prompt_digests > before.txt``, the same with the other version, then ``diff``. Each line is a
setting (source, task, shots, variant) with its number of samples and a digest over all of its requests: text, content
of the images, decoding. Official samples are read from ``KOSMOS_EVAL_DATA`` where it is set.
"""

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from kosmos_eval.errors import BadImage, KosmosEvalError
from kosmos_eval.evaluation.evaluator import build_requests
from kosmos_eval.evaluation.plan import plan
from kosmos_eval.evaluation.setup import load_tasks
from kosmos_eval.evaluation.variant import Variants
from kosmos_eval.fewshot.selection import FixedShots, Shots
from kosmos_eval.registry import names
from kosmos_eval.source import Source

SHOTS = (0, 1, 4)
VARIANTS = {
    "prompts": Variants(with_blind=True, prompts=("all",)),
    "shuffled": Variants(images="shuffled"),
    "none": Variants(images="none", seeds=2),
}


def sources() -> Iterator[tuple[str, Source]]:
    yield "synthetic", Source()
    if root := os.environ.get("KOSMOS_EVAL_DATA"):
        yield "data", Source("data", Path(root))


def digests(name: str, source: Source, shots: Shots, variants: Variants, options: list[str]) -> Iterator[str]:
    for setting in plan(load_tasks([name], source, options=options), shots=shots, variants=variants):
        total = sha256()
        for sample in setting.samples:
            try:
                asked = build_requests(setting, sample)
                line = f"{sample.id} {asked.prompt} {[shot.id for shot in asked.shots]}"
            except BadImage as error:
                line = f"{sample.id} {type(error).__name__}"
            total.update(f"{line} {sample.target!r} {sample.references!r} {sample.choices!r} {sample.group}\n".encode())
        variant, found = str(setting.key.variant) or "default", total.hexdigest()[:16]
        yield f"{setting.name} {setting.shots} {variant} {len(setting.samples)} {found}"


def main() -> None:
    for kind, source in sources():
        for name in names("task"):
            plans = [(kind, Shots(SHOTS), variants, []) for variants in VARIANTS.values()]
            plans += [(f"{kind}/fixed", Shots(SHOTS[1:], FixedShots()), Variants(), [])]
            plans += [(f"{kind}/rationale", Shots(SHOTS), Variants(), [f'{name}.rationale="Think:"'])]
            for label, shots, variants, options in plans:
                try:
                    for line in digests(name, source, shots, variants, options):
                        print(label, line, flush=True)
                except KosmosEvalError as error:
                    print(label, name, variants.images, "refused:", str(error)[:60].replace(str(source.root), "ROOT"))


if __name__ == "__main__":
    main()
