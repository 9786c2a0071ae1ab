"""The five tasks of the main job through ``hf:`` and ``openai:``, around the same transformers models."""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kosmos_eval import Completion, Generate
from kosmos_eval.errors import ModelError, UnknownName
from kosmos_eval.evaluation.evaluator import evaluate_setting
from kosmos_eval.evaluation.plan import plan
from kosmos_eval.evaluation.run_folder import RunFolder
from kosmos_eval.evaluation.setup import load_tasks
from kosmos_eval.model import Model
from kosmos_eval.models.device import pick_device
from kosmos_eval.models.hf import loading
from kosmos_eval.models.hf.model import HFModel, load
from kosmos_eval.models.openai.model import OpenAIModel
from tests.eval.test_models_hf import save_kosmos2, save_llava

SERVER = Path(__file__).parents[1] / "fixtures" / "openai_transformers.py"
FIVE = ["coco_caption", "vqav2", "raven_iq", "rendered_sst2", "imagenet"]


@dataclass
class Greedy(Model):
    """A model that is asked for the only decoding that servers offer."""

    model: HFModel
    name: str = "greedy"
    fingerprint: str = "0"

    def fits(self, request):
        return self.model.fits(request)

    def answers(self, requests):
        return self.model.answers([replace(r, beams=1) if isinstance(r, Generate) else r for r in requests])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    save_llava(root / "llava")
    save_kosmos2(root / "kosmos2", positions=1024)
    return root


@pytest.fixture(scope="module")
def server(folders):
    command = [sys.executable, "-W", "ignore", SERVER, *folders.iterdir()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("family", ["llava", "kosmos2"])
def test_five_tasks_give_the_same_greedy_texts_by_both(folders, server, family):
    def asked(model):
        run = RunFolder()
        for setting in plan(load_tasks(FIVE), shots=(0, 1), limit=2):
            evaluate_setting(model, setting, run)
        records = {(key, record.id): record for key in run.records for record in run.of(key)}
        assert not [record.error for record in records.values() if record.error]
        return records

    ours = asked(Greedy(load(str(folders / family), device="cpu", chat_template="none")))
    theirs = asked(OpenAIModel(f"{family}@{server}", beams="greedy", concurrency=1, timeout=600.0))
    assert ours.keys() == theirs.keys() and len(ours) == 20
    compared = 0
    for key, record in ours.items():
        assert theirs[key].prompt == record.prompt  # asked the same, decoding aside
        free = record.outputs if record.key.task in ("coco_caption", "vqav2") else record.outputs[1:]
        if record.key.task in ("coco_caption", "vqav2", "imagenet"):
            for output, other in zip(free, theirs[key].outputs[-len(free) :], strict=True):
                assert isinstance(output, Completion) and isinstance(other, Completion)
                assert output.text.strip() == other.text.strip(), key
                compared += 1
    assert compared == 12
    assert len({output.text for record in ours.values() for output in record.outputs if hasattr(output, "text")}) > 4


def test_layers_spread_over_the_devices_of_one_process_give_the_same_answers(folders, monkeypatch):
    requests = [Generate(task.samples()[0].prompt, 8) for task in load_tasks(["vqav2"]).values()]
    one, other = (load(str(folders / "llava"), device="cpu", device_map=how) for how in (None, "auto"))
    assert dict(one.answers(requests)) == dict(other.answers(requests))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ModelError, match="device_map spreads a model over the GPUs of one process; start it without"):
        load(str(folders / "llava"), device="cpu", device_map="auto")
    with pytest.raises(UnknownName, match="no device_map is called 'ballanced'; did you mean 'balanced'"):
        load(str(folders / "llava"), device="cpu", device_map="ballanced")


def test_fewer_bits_are_asked_of_bitsandbytes_and_its_absence_is_one_line(folders, monkeypatch):
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="dtype int8 is made by bitsandbytes, which is not installed; pip install"):
        load(str(folders / "llava"), device="cpu", dtype="int8")
    monkeypatch.setattr(loading, "find_spec", lambda name: name)
    told = loading.placement(object(), pick_device("cpu"), dtype="int8", device_map=None)
    assert told["quantization_config"].load_in_8bit and told["device_map"] == {"": "cpu"}
