"""Zero- and few-shot evaluation of multimodal language models on interleaved image-text prompts.

>>> from kosmos_eval import Image, Prompt
>>> Prompt("Question: ", Image("cat.jpg"), " What is this? Answer:").text()
'Question: <image> What is this? Answer:'
"""

from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.evaluation.evaluator import evaluate
from kosmos_eval.evaluation.run_config import RunConfig
from kosmos_eval.evaluation.setup import load_model, load_tasks
from kosmos_eval.evaluation.variant import Variant, Variants
from kosmos_eval.fewshot.selection import few_shot
from kosmos_eval.metrics.statistics import Metric
from kosmos_eval.model import Model
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.registry import register, register_model
from kosmos_eval.request import Completion, Failure, Generate, Likelihoods, LogLikelihood
from kosmos_eval.sample import Sample, Samples
from kosmos_eval.source import Source
from kosmos_eval.task import Score, Task, TaskInfo

__all__ = [
    "Completion",
    "Failure",
    "Generate",
    "Image",
    "KosmosEvalError",
    "Likelihoods",
    "LogLikelihood",
    "Metric",
    "Model",
    "Prompt",
    "RunConfig",
    "Sample",
    "Samples",
    "Score",
    "Source",
    "Task",
    "TaskInfo",
    "Variant",
    "Variants",
    "evaluate",
    "few_shot",
    "load_model",
    "load_tasks",
    "register",
    "register_model",
]
