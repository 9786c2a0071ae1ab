"""Rendered SST-2 by multimodal chain of thought (KOSMOS-1 section 4.5).

Prompts: the image and ``Introduce this picture in detail:``; then the image, what was generated, and ``Question: what
is the sentiment of the opinion? Answer:``, whose answers are compared by likelihood. All else is as in Rendered SST-2;
where the paper is silent, the rationale's defaults are those of `kosmos_eval.evaluation.chain_of_thought`.
"""

from dataclasses import replace

from kosmos_eval.evaluation.chain_of_thought import reasoning
from kosmos_eval.registry import register
from kosmos_tasks.families.suites import KOSMOS1, MINI
from kosmos_tasks.rendered_sst2 import RenderedSST2

RenderedSST2CoT = register("rendered_sst2_cot")(
    reasoning(
        RenderedSST2,
        says="Sentiment of rendered sentences, after a rationale.",
        said=replace(RenderedSST2.about, suites=(KOSMOS1, MINI)),
    )
)
