"""Caption metrics of the COCO evaluation, computed by pycocoevalcap: BLEU-1..4, METEOR, ROUGE-L, CIDEr and SPICE.

Metrics carry the official tool's names and scales: ``CIDEr`` in 0..10, all others in 0..1. Papers print them times 100.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from kosmos_eval.errors import BadData
from kosmos_eval.metrics import meteor
from kosmos_eval.metrics.ptb import tokenise
from kosmos_eval.metrics.spice import SpiceUnavailable, spice_scores
from kosmos_eval.metrics.statistics import LEVEL, RESAMPLES, Metric, interval

if TYPE_CHECKING:
    import numpy as np

BLEU = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4")
MEANS = {"ROUGE_L": 1.0, "CIDEr": 10.0, "SPICE": 1.0}
"""Metrics whose figure for the corpus is the mean of the images', and the most that they can reach."""


@dataclass(frozen=True)
class CaptionScores:
    """The scores of a set of captions, and what is needed to resample it by image.

    Args:
        images: the scored images, in the order of everything else here.
        overall: metric to its figure for the corpus. BLEU and METEOR are no means of the images'.
        per_image: metric to each image's own score.
        bleu: for each image, n-grams guessed (4), n-grams correct (4), candidate length, closest reference length.
        meteor: for each image, the 23 statistics of METEOR.
        unavailable: metric to why it could not be computed, one line.
    """

    images: tuple[str, ...]
    overall: Mapping[str, float]
    per_image: Mapping[str, tuple[float, ...]]
    bleu: tuple[tuple[float, ...], ...]
    meteor: tuple[tuple[float, ...], ...]
    unavailable: Mapping[str, str]


def caption_scores(
    candidates: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    frequencies_from: Mapping[str, Sequence[str]] | None = None,
    spice: bool = False,
) -> CaptionScores:
    """Score one caption per image.

    CIDEr weighs n-grams by how many images' references hold them. The official rule counts the scored images, so the
    figure of a subset is on another scale (0 for a single image); with ``frequencies_from`` the table is that of the
    whole split, whatever part of it is scored.

    Args:
        candidates: image to the caption to score, as generated.
        references: image to the human captions, as annotated; those of other images are not looked at.
        frequencies_from: image to human captions that CIDEr's document frequencies are taken from, in place of the
            scored images' (which are always counted too).
        spice: also compute SPICE; where it cannot run, `CaptionScores.unavailable` says why.

    Raises:
        BadData: if there is nothing to score, or an image without a reference.
        KosmosEvalError: if the Java programs fail.
    """
    if not candidates:
        raise BadData("no captions to score; expected at least one image with a caption")
    bare = [image for image in candidates if not references.get(image)]
    if bare:
        raise BadData(f"image {bare[0]} has a caption to score but no reference ({len(bare)} such); another split?")

    corpus = {**(frequencies_from or {}), **{image: references[image] for image in candidates}}
    documents = tokenise(corpus)
    found = {image: tokens[0] for image, tokens in tokenise({i: [text] for i, text in candidates.items()}).items()}
    human = {image: documents[image] for image in candidates}
    bleu, bleu_of_images, counts = _bleu(found, human)
    statistics = meteor.statistics(found, human)
    *meteor_of_images, meteor_of_corpus = meteor.scores(statistics)
    per_image: dict[str, Sequence[float]] = {
        **bleu_of_images,
        "METEOR": meteor_of_images,
        "ROUGE_L": _rouge_l(found, human),
        "CIDEr": _cider(found, documents),
    }
    unavailable = {}
    if spice:
        try:
            per_image["SPICE"] = spice_scores(found, human)
        except SpiceUnavailable as reason:
            unavailable["SPICE"] = str(reason)
    averages = {name: fmean(per_image[name]) for name in MEANS if name in per_image}
    return CaptionScores(
        images=tuple(candidates),
        overall={**bleu, "METEOR": meteor_of_corpus, **averages},
        per_image={name: tuple(scores) for name, scores in per_image.items()},
        bleu=counts,
        meteor=tuple(map(tuple, statistics)),
        unavailable=unavailable,
    )


def intervals(scores: CaptionScores, *, seed: int = 0) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each overall figure, by resampling images.

    Averages of images (CIDEr, ROUGE-L, SPICE) have the interval of any mean; CIDEr's document frequencies are held as
    they are. BLEU and METEOR are computed anew from the summed statistics of 1,000 resamples, by percentiles. A metric
    whose resamples do not differ, and every metric of a single image, has no interval and is left out.
    """
    import numpy as np

    n = len(scores.images)
    if n < 2:
        return {}
    averaged = {name: interval(scores.per_image[name], [1] * n, seed=seed) for name in scores.overall if name in MEANS}
    found = {name: (max(0.0, ends[0]), min(MEANS[name], ends[1])) for name, ends in averaged.items() if ends}
    columns = np.column_stack([scores.bleu, scores.meteor])
    rng, per_draw = np.random.default_rng(seed), np.full(n, 1 / n)
    sums = np.stack([rng.multinomial(n, per_draw) @ columns for _ in range(RESAMPLES)])  # (resamples, columns)

    bleu, statistics = np.split(sums, [10], axis=1)
    drawn = [*_bleu_of_sums(bleu).T, np.array(meteor.scores(statistics.tolist())[:-1])]
    tails = [50 * (1 - LEVEL), 50 * (1 + LEVEL)]
    ends = {name: np.percentile(each, tails) for name, each in zip([*BLEU, "METEOR"], drawn, strict=True)}
    return found | {name: (float(low), float(high)) for name, (low, high) in ends.items() if high - low > 1e-9}


def metrics(scores: CaptionScores, *, seed: int = 0) -> dict[str, Metric]:
    """The overall figures with their intervals, as a report takes them."""
    ends = dict.fromkeys(scores.overall, (None, None)) | intervals(scores, seed=seed)
    n = len(scores.images)
    return {
        name: Metric(value, ends[name][0], ends[name][1], n, unit="", averaged=name in MEANS)
        for name, value in scores.overall.items()
    }


def _bleu(
    found: Mapping[str, str], human: Mapping[str, Sequence[str]]
) -> tuple[dict[str, float], dict[str, list[float]], tuple[tuple[float, ...], ...]]:
    """BLEU-1..4 of the corpus, of each image, and the counts of `CaptionScores.bleu`."""
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    scorer = BleuScorer(n=len(BLEU))
    for image, caption in found.items():
        scorer += (caption, human[image])
    corpus, images = scorer.compute_score(option="closest", verbose=0)
    counts = tuple(
        (
            *row["guess"],
            *row["correct"],
            row["testlen"],
            scorer._single_reflen(row["reflen"], "closest", row["testlen"]),
        )
        for row in scorer.ctest
    )
    return dict(zip(BLEU, corpus, strict=True)), dict(zip(BLEU, images, strict=True)), counts


def _closest(lengths: Sequence[int], length: int) -> int:
    """The reference length nearest to the candidate's; of two as near, the shorter."""
    return min(lengths, key=lambda reference: (abs(reference - length), reference))


def _bleu_of_sums(sums: "np.ndarray") -> "np.ndarray":
    """BLEU-1..4 of summed counts, (R, 10) -> (R, 4), with the smoothing constants of the official scorer."""
    import numpy as np

    guessed, correct, length, reference = np.split(sums, [4, 8, 9], axis=1)
    precision = np.cumprod((correct + 1e-15) / (guessed + 1e-9), axis=1) ** (1 / np.arange(1, 5))
    ratio = (length + 1e-15) / (reference + 1e-9)
    return np.asarray(precision * np.exp(np.minimum(0, 1 - 1 / ratio)))


def _rouge_l(found: Mapping[str, str], human: Mapping[str, Sequence[str]]) -> list[float]:
    from pycocoevalcap.rouge.rouge import Rouge

    scorer = Rouge()
    return [float(scorer.calc_score([caption], human[image])) for image, caption in found.items()]


def _cider(found: Mapping[str, str], documents: Mapping[str, Sequence[str]]) -> list[float]:
    """CIDEr of each image; the references of all ``documents`` are counted, those of ``found`` are compared.

    The scorer walks candidates and references in parallel and takes the number of documents from the references, so
    the images that are only counted stand behind those that are scored.
    """
    from pycocoevalcap.cider.cider_scorer import CiderScorer, cook_refs, cook_test

    scorer = CiderScorer()
    scorer.ctest = [cook_test(caption) for caption in found.values()]
    order = [*found, *(image for image in documents if image not in found)]
    scorer.crefs = [cook_refs(documents[image]) for image in order]
    scorer.compute_doc_freq()
    return [float(score) for score in scorer.compute_cider()]
