"""Rendered SST-2 by multimodal chain of thought (KOSMOS-1 section 4.5).

Prompts: the image and ``Introduce this picture in detail:``; then the image, what was generated, and ``Question: what
is the sentiment of the opinion? Answer:``, whose answers are compared by likelihood. All else is as in Rendered SST-2;
where the paper is silent, the rationale's defaults are those of `kosmos_eval.evaluation.chain_of_thought`.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Literal

from kosmos_eval.evaluation.chain_of_thought import INTRODUCE, TOKENS, ReasonedTask
from kosmos_eval.metrics.choice import Rule
from kosmos_eval.registry import register
from kosmos_eval.source import Source
from kosmos_eval.task import TaskInfo
from kosmos_tasks.families.suites import KOSMOS1, SYNTHETIC
from kosmos_tasks.rendered_sst2 import RenderedSST2


@register("rendered_sst2_cot")
@dataclass(frozen=True)
class RenderedSST2CoT(ReasonedTask):
    """Sentiment of rendered sentences, after a rationale.

    Args:
        source, rule, prompt: as of `RenderedSST2`.
        rationale: what asks for the rationale.
        rationale_tokens: the most tokens of it.
    """

    source: Source = field(default_factory=Source)
    rule: Rule = "sum"
    prompt: Literal["paper", "short", "instruction"] = "paper"
    rationale: str = INTRODUCE
    rationale_tokens: int = TOKENS

    info: ClassVar[TaskInfo] = replace(RenderedSST2.info, suites=(KOSMOS1, SYNTHETIC))

    @cached_property
    def task(self) -> RenderedSST2:
        """The task that is asked after the rationale."""
        return RenderedSST2(self.source, self.rule, self.prompt)
