"""The hook on the bundled model, live in its training."""

from dataclasses import replace

import torch

from kosmos_eval.evaluation.setup import load_tasks
from kosmos_eval.hook import EvalHook
from kosmos_eval.source import Source
from kosmos_model.adapters.kosmos import live
from kosmos_model.modeling.kosmos import Kosmos, build
from tests.model.conftest import TINY, TOKENIZER

CONFIG = replace(TINY, dropout=0.1)


def trained(hook: EvalHook | None = None) -> Kosmos:
    model = build(CONFIG, seed=0).train()
    torch.manual_seed(0)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-2)
    tokens = torch.randint(8, len(TOKENIZER), (4, 12))
    for step in range(4):
        logits = model(tokens)
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        adam.step()
        adam.zero_grad()
        if hook is not None:
            hook(step, model)
    return model


def test_evaluating_a_live_kosmos_changes_no_weight_of_its_training() -> None:
    said: list[str] = []
    hook = EvalHook(
        load_tasks(["vqav2"], Source()),
        every=2,
        limit=3,
        shots=(0, 1),
        wrap=lambda module: live(module, TOKENIZER),
        log=said.append,
    )
    plain, evaluated = trained(), trained(hook)
    assert not hook.errors
    assert {(entry.step, entry.shots) for entry in hook.history} == {(0, 0), (0, 1), (2, 0), (2, 1)}
    for (name, one), (_, other) in zip(plain.state_dict().items(), evaluated.state_dict().items(), strict=True):
        assert torch.equal(one, other), name
