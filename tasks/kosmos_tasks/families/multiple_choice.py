"""Choosing among texts by their likelihood: what closed-ended tasks compose.

A choice follows its prompt after a space. Choices compete under a rule; of m that tie at the top, each right one earns
1/m. Metrics have the names of lm-evaluation-harness 0.4.13, where it has one: ``acc`` compares sums of
log-probabilities, ``acc_norm`` divides them by the number of characters of the choice, without the space.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kosmos_eval.fewshot.selection import few_shot
from kosmos_eval.metrics.choice import Rule, best, credit, preferences
from kosmos_eval.prompt import Prompt
from kosmos_eval.request import Likelihoods, LogLikelihood
from kosmos_eval.sample import Sample
from kosmos_eval.task import Score

METRICS: Mapping[Rule, str] = {
    "sum": "acc",
    "mean per character": "acc_norm",
    "mean per token": "acc_per_token",
    "difference": "acc_difference",
}
RULES: Mapping[Rule, str] = {
    "sum": "scored by log-likelihood",
    "mean per character": "scored by length-normalised log-likelihood (per character)",
    "mean per token": "scored by length-normalised log-likelihood (per token)",
    "difference": "scored by pointwise mutual information",
}
"""The notes of the rules."""
PARAGRAPH = "\n\n"
"""The separator of demonstrations in lm-evaluation-harness."""


def asked(prompt: Prompt, choices: Sequence[str], *, rule: Rule = "sum") -> list[LogLikelihood]:
    """Return every choice after the prompt; for ``difference`` also after ``Answer:`` alone."""
    words = tuple(f" {choice}" for choice in choices)
    prompts = [prompt, Prompt("Answer:")] if rule == "difference" else [prompt]
    return [LogLikelihood(each, words) for each in prompts]


def asked_in_context(sample: Sample, shots: Sequence[Sample], *, separator: str = PARAGRAPH) -> list[LogLikelihood]:
    """Return the same ending after each of several contexts, which hold the choices (partial scoring).

    Args:
        sample: its ``extra["contexts"]`` are the contexts, in the order of its choices; its target is the ending.
        shots: demonstrations.
        separator: what stands between them.
    """
    prompts = [replace(sample, prompt=Prompt(context)) for context in sample.extra["contexts"]]
    ending = (f" {sample.target}",)
    return [LogLikelihood(few_shot(prompt, shots, separator=separator), ending) for prompt in prompts]


def chosen(
    choices: Sequence[str], outputs: Sequence[Likelihoods], *, target: int, rule: Rule = "sum"
) -> tuple[str, float]:
    """Return the choice that a rule prefers, ties joined by ``=``, and the credit for it.

    Args:
        choices: what was asked for.
        outputs: the answers to `asked`.
        target: the index of the right choice.
        rule: how likelihoods are compared.
    """
    given, *alone = outputs
    without = alone[0].logprobs if alone else None
    found = preferences(given.logprobs, rule=rule, tokens=given.tokens, texts=choices, without_prompt=without)
    answer = "=".join(dict.fromkeys(choices[index].strip() for index in best(found)))
    return answer, credit(found, [target])


def ranked(
    sample: Sample, outputs: Sequence[Likelihoods], *, rule: Rule = "sum", also: Sequence[Rule] = (), metric: str = ""
) -> Score:
    """Return the score by a rule, called ``metric`` if given, then by other rules that need no further request."""
    choices, target = sample.choices, sample.choices.index(sample.target)
    answer, credited = chosen(choices, outputs, target=target, rule=rule)
    others = {METRICS[each]: chosen(choices, outputs, target=target, rule=each)[1] for each in also}
    return Score({metric or METRICS[rule]: credited, **others}, answer)


def ranked_in_context(sample: Sample, outputs: Sequence[Likelihoods]) -> Score:
    """Return the score of the context after which the ending is the likeliest; ``extra["label"]`` is the right one."""
    sums, tokens, greedy = zip(*((o.logprobs[0], o.tokens[0], o.greedy[0]) for o in outputs), strict=True)
    answer, value = chosen(sample.choices, [Likelihoods(sums, tokens, greedy)], target=sample.extra["label"])
    return Score({METRICS["sum"]: value}, answer)
