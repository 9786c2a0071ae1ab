"""Run inside lmms-eval's own Python: its batched transformers model with one fix, its loop's time and texts written.

As released (0.7.3) that model is built by ``AutoModel``, which has no text to generate, with padding on the right and
without asking for fp32; the class that is asked for here, left padding and fp32 are all that is put in their place.

    PYTHON -m benchmarks.peer_lmms TIMES.json lmms-eval's own arguments...
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any


def fixed(chat: Any) -> None:
    """Let lmms-eval's model load an image-text-to-text network and pad on the left."""
    import torch
    import transformers

    class Network:
        @staticmethod
        def from_pretrained(*given: Any, **options: Any) -> Any:
            options["torch_dtype"] = torch.float32
            return transformers.AutoModelForImageTextToText.from_pretrained(*given, **options)

    class Processor:
        """The processor, without the kinds of input that it does not have."""

        def __init__(self, processor: Any) -> None:
            self.processor = processor

        @classmethod
        def from_pretrained(cls, *given: Any, **options: Any) -> Processor:
            processor = transformers.AutoProcessor.from_pretrained(*given, **options)
            processor.tokenizer.padding_side = "left"
            return cls(processor)

        def __call__(self, **given: Any) -> Any:
            return self.processor(**{name: value for name, value in given.items() if name not in ("videos", "audios")})

        def __getattr__(self, name: str) -> Any:
            return getattr(self.processor, name)

    chat.AutoModel, chat.AutoProcessor = Network, Processor


def main() -> None:
    """Run the command line with its loop timed."""
    times, texts = sys.argv.pop(1), []
    import lmms_eval.models.chat.huggingface as chat
    from lmms_eval.__main__ import cli_evaluate

    fixed(chat)
    loop: Callable[..., Any] = chat.Huggingface.generate_until
    found: dict[str, Any] = {}

    def timed(self: Any, requests: Any) -> Any:
        start = time.process_time()
        answers = loop(self, requests)
        found["loop"] = time.process_time() - start
        texts.extend(zip([str(request.args[3]) for request in requests], map(_text, answers), strict=True))
        return answers

    chat.Huggingface.generate_until = timed
    try:
        cli_evaluate()
    finally:
        found["texts"] = dict(texts)
        with open(times, "w", encoding="utf-8") as file:  # noqa: PTH123
            json.dump(found, file)


def _text(answer: Any) -> str:
    return answer if isinstance(answer, str) else str(getattr(answer, "text", answer))


if __name__ == "__main__":
    main()
