"""The hook in other people's trainers: the same weights to the bit with and without it."""

from dataclasses import dataclass
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from kosmos_eval import Completion, Generate, Prompt, Sample, Score
from kosmos_eval.errors import KosmosEvalError
from kosmos_eval.hook import EvalHook
from kosmos_eval.hook.callbacks import attach, lightning_callback
from kosmos_eval.hook.history import Watch
from kosmos_eval.model import Model
from kosmos_eval.models.hf.model import live
from kosmos_eval.task import Task
from tests.eval.test_models_hf import save_text_only

X, Y = torch.randn(32, 4, generator=torch.Generator().manual_seed(1)), torch.zeros(32, 1)


@dataclass(frozen=True)
class Evens(Task):
    """Which numbers are even?"""

    def samples(self):
        return [Sample(str(i), Prompt(f"{i}"), ("yes", "no")[i % 2]) for i in range(10)]

    def examples(self):
        return self.samples()

    def requests(self, sample, shots):
        return [Generate(sample.prompt)]

    def score(self, sample, outputs):
        return Score({"accuracy": float(outputs[0].text == sample.target)})


@dataclass
class Agreeing(Model):
    """Says yes to all, after drawing numbers."""

    module: nn.Module
    text: str = "yes"
    name: str = "agreeing"
    fingerprint: str = "0"

    def fits(self, request):
        return True

    def answers(self, requests):
        self.module(torch.rand(3, 4))
        return iter([(index, Completion(self.text)) for index in range(len(requests))])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))

    def forward(self, x, labels=None):
        out = self.layers(x)
        return out if labels is None else {"loss": ((out - labels) ** 2).mean(), "logits": out}


def weights(module):
    return torch.cat([value.flatten() for value in module.state_dict().values()])


def hook_of(**options):
    return EvalHook({"evens": Evens()}, **{"every": 2, "wrap": Agreeing, "log": lambda line: None} | options)


def with_transformers(folder, hook=None, *, network=None, data=None, **options):
    from transformers import Trainer, TrainingArguments

    torch.manual_seed(0)
    data = data or [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]
    plain = {
        "per_device_train_batch_size": 4,
        "num_train_epochs": 1,
        "learning_rate": 0.1,
        "logging_steps": 100,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
    }
    trainer = Trainer(
        network or Net(), TrainingArguments(str(folder), **plain | options), train_dataset=data, eval_dataset=data[:4]
    )
    if hook is not None:
        attach(trainer, hook)
    trainer.train()
    return trainer


@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_transformers_trains_the_same_weights_and_logs_the_scores(tmp_path):
    plain = with_transformers(tmp_path)
    hook = hook_of()
    evaluated = with_transformers(tmp_path, hook)
    assert not hook.errors
    assert torch.equal(weights(plain.model), weights(evaluated.model))
    logged = {
        line["step"]: line["evens/0-shot/accuracy"]
        for line in evaluated.state.log_history
        if "evens/0-shot/accuracy" in line
    }
    assert logged == {2: 50, 4: 50, 6: 50, 8: 50}


@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_transformers_stops_when_the_hook_says_so(tmp_path):
    stopped = with_transformers(tmp_path, hook_of(watch=Watch("evens", patience=1)))
    assert stopped.state.global_step == 4


@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_transformers_keeps_the_best_checkpoint_by_a_score_of_the_hook(tmp_path):
    answers = iter(["no way", "yes", "no way", "CUDA error"])

    def wrap(module):
        if (text := next(answers)) == "CUDA error":
            raise RuntimeError(text)
        return Agreeing(module, text)

    hook = hook_of(wrap=wrap)
    best = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "best", "save_total_limit": 1}
    trained = with_transformers(tmp_path, hook, metric_for_best_model="evens/0-shot/accuracy", **best)
    assert len(hook.errors) == 1
    assert (trained.state.best_global_step, trained.state.best_metric) == (4, 50)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-4"]


@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_a_language_model_answers_in_the_middle_of_its_training_and_trains_the_same(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    save_text_only(tmp_path)
    words = AutoTokenizer.from_pretrained(tmp_path)
    ids = torch.arange(6, 14)
    data = [{"input_ids": ids + i, "labels": ids + i} for i in range(16)]

    def trained(hook=None):
        network = AutoModelForCausalLM.from_pretrained(tmp_path)
        return with_transformers(tmp_path / "out", hook, network=network, data=data).model

    hook = hook_of(wrap=lambda network: live(network, words))
    assert torch.equal(weights(trained()), weights(trained(hook)))
    assert [entry.step for entry in hook.history] == [2, 4] and not hook.errors


def with_lightning(folder, hook=None):
    import lightning.pytorch as lightning
    from torch.utils.data import DataLoader, TensorDataset

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = Net()

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, index):
            return self.net(*batch)["loss"]

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), lr=0.1)

    torch.manual_seed(0)
    module = Module()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accumulate_grad_batches=2,
        callbacks=[lightning_callback(hook)] if hook else [],
    )
    trainer.fit(module, DataLoader(TensorDataset(X, Y), batch_size=2, shuffle=True))
    return module, trainer


@pytest.mark.skipif(find_spec("lightning") is None, reason="lightning is not installed")
@pytest.mark.filterwarnings("ignore")
def test_lightning_trains_the_same_weights_and_stops_when_the_hook_says_so(tmp_path):
    plain, _ = with_lightning(tmp_path)
    hook = hook_of()
    evaluated, _ = with_lightning(tmp_path, hook)
    assert [entry.step for entry in hook.history] == [0, 2, 4, 6, 8] and not hook.errors  # 0: half of the first step
    assert torch.equal(weights(plain), weights(evaluated))
    _, stopped = with_lightning(tmp_path, hook_of(watch=Watch("evens", patience=1)))
    assert stopped.global_step == 2


@pytest.mark.skipif(find_spec("lightning") is not None, reason="lightning is installed")
def test_without_lightning_its_callback_says_what_to_install():
    with pytest.raises(KosmosEvalError, match="lightning is not installed; pip install lightning"):
        lightning_callback(hook_of())
