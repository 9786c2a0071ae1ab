import gc
import random
import weakref
from dataclasses import dataclass, field

import numpy as np
import pandas
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from kosmos_eval import Completion, Failure, Prompt, Sample
from kosmos_eval.errors import KosmosEvalError, RunError, UnknownName
from kosmos_eval.hook import EvalHook
from kosmos_eval.hook.budget import seconds
from kosmos_eval.hook.history import Entry, Watch
from kosmos_eval.hook.isolation import preserve_training_state
from kosmos_eval.model import Model
from kosmos_eval.sample import Samples
from kosmos_eval.task import means
from tests.fixtures import tasks


@pytest.fixture(autouse=True, scope="module")
def imports_are_no_garbage():
    """Every evaluation collects garbage; without this, each would look at all of torch's objects."""
    gc.freeze()
    yield
    gc.unfreeze()


@dataclass(frozen=True)
class Doubles(tasks.Doubles):
    """Enough of them for a time budget."""

    count: int = 40


class Net(nn.Module):
    """Learns nothing in particular; its second half is kept in evaluation mode, as a frozen encoder would be."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5))
        self.frozen = nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16)).eval().requires_grad_(False)
        self.last = nn.Linear(16, 1)

    def forward(self, x):
        return self.last(self.frozen(self.first(x)))


@dataclass
class Reckless(Model):
    """Uses the network, draws from every random source and leaves modes and gradients as no model should."""

    module: Net
    right: int = 1000
    used: bool = False
    name: str = "reckless"
    fingerprint: str = "0"

    def fits(self, request):
        return True

    def answers(self, requests):
        if not self.used:
            assert not any(part.training for part in self.module.modules())
            assert not self.module(torch.rand(3, 4)).requires_grad
        self.used = True
        self.module.train()
        self.module.requires_grad_(True)
        self.module.zero_grad(set_to_none=True)
        for index, request in enumerate(requests):
            random.random()
            np.random.rand()
            number = int(request.prompt.text().splitlines()[-1][2:-1])
            yield index, Completion(str(2 * number if number < self.right else 0))


def trained(hook=None, *, guarded=True):
    """Weights after two epochs in which data order, dropout and augmentation come from the global random states."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    net = Net().train()
    net.frozen.eval()
    data = TensorDataset(torch.randn(24, 4), torch.randn(24, 1))
    adam = torch.optim.AdamW([weight for weight in net.parameters() if weight.requires_grad], lr=0.1)
    step = 0
    for _ in range(2):
        for x, y in DataLoader(data, batch_size=4, shuffle=True):
            loss = ((net(x + 0.1 * random.random() + 0.1 * np.random.rand()) - y) ** 2).mean()
            loss.backward()
            if step % 2:  # gradients of two batches are accumulated, and evaluations fall between them
                adam.step()
                adam.zero_grad()
            step += 1
            if hook is not None:
                hook(step, net)
    return torch.cat([value.flatten().double() for value in net.state_dict().values()])


@pytest.fixture
def said():
    return []


def hook_of(said, **options):
    return EvalHook(**{"tasks": {"doubles": Doubles()}, "every": 1, "wrap": Reckless, "log": said.append} | options)


def test_training_with_the_hook_gives_the_same_weights_to_the_bit(said):
    hook = hook_of(said, every=3, shots=(0, 2))
    assert torch.equal(trained(), trained(hook))
    assert {entry.step for entry in hook.history} == {3, 6, 9, 12}
    assert not hook.errors


def test_the_same_evaluation_without_the_hooks_care_gives_other_weights():
    def careless(step, net):
        net.eval()
        with torch.no_grad():
            list(Reckless(net).answers([]))

    assert not torch.equal(trained(), trained(careless))


def test_modes_gradients_and_flags_are_put_back_also_after_an_error():
    net = Net().train()
    net.frozen.eval()
    net(torch.randn(5, 4)).sum().backward()
    before = [
        (weight.requires_grad, weight.grad, weight.grad is not None and weight.grad.clone())
        for weight in net.parameters()
    ]
    with pytest.raises(AssertionError), preserve_training_state(net):
        list(Reckless(net.train()).answers([]))  # it would not have the network in training mode
    assert (net.training, net.first[1].training, net.frozen.training, net.frozen[1].training) == (
        True,
        True,
        False,
        False,
    )
    for weight, (needs, gradient, copy) in zip(net.parameters(), before, strict=True):
        assert weight.requires_grad == needs and weight.grad is gradient
        assert gradient is None or torch.equal(gradient, copy)
    assert torch.is_grad_enabled()


def test_a_model_that_holds_its_module_is_put_back_too():
    model = Reckless(Net().train())
    with preserve_training_state(model):
        list(model.answers([]))
    assert model.module.first[1].training and not model.module.frozen[0].weight.requires_grad


def test_it_evaluates_at_its_steps_once_each_and_gives_pairs_for_a_logger(said):
    hook = hook_of(said, every=5, wrap=lambda net: Reckless(net, right=10))
    assert hook(4, Net()) == []
    values = dict(hook(5, Net()))
    assert values["doubles/0-shot/accuracy"] == 25
    assert values["doubles/0-shot/accuracy/low"] == pytest.approx(14.19, abs=0.01)  # Wilson, 10 of 40
    assert values["doubles/0-shot/accuracy/high"] == pytest.approx(40.19, abs=0.01)
    assert hook(5, Net()) == []
    assert said[0] == "step 5: doubles, 0 shots: accuracy 25.00 % (14.19 to 40.19, n 40)"
    assert said[1].startswith("step 5: evaluated in ")


def test_limit_takes_the_same_seeded_subset_every_time(said):
    hook = hook_of(said, limit=7)
    first, second = (dict(hook(step, Net())) for step in (0, 1))
    assert first == second
    assert [(entry.n, entry.samples) for entry in hook.history] == [(7, 7), (7, 7)]


def test_the_csv_has_a_line_a_step_and_metric_and_is_continued(said, tmp_path):
    path = tmp_path / "logs" / "scores.csv"
    hook = hook_of(said, csv=path, shots=(0, 1))
    for step in (10, 20):
        hook(step, Net())
    resumed = hook_of(said, csv=path, shots=(0, 1), wrap=lambda net: Reckless(net, right=10))
    resumed(20, Net())  # the training went back to a checkpoint before step 20
    table = pandas.read_csv(path)
    assert list(table.columns) == ["step", "task", "shots", "metric", "score", "low", "high", "n", "failed", "samples"]
    assert [tuple(row) for row in table[["step", "shots", "score"]].values] == [
        (10, 0, 100),
        (10, 1, 100),
        (20, 0, 25),
        (20, 1, 25),
    ]
    assert resumed.history[:2] == hook.history[:2]


def test_a_resumed_training_whose_first_evaluation_fails_keeps_the_csv(said, tmp_path):
    path = tmp_path / "scores.csv"
    hook_of(said, csv=path)(1, Net())
    resumed = hook_of(said, csv=path, watch=Watch("doubles", metric="acuracy"))
    assert resumed(2, Net()) == []
    resumed.watch = None
    resumed(3, Net())
    assert list(pandas.read_csv(path)["step"]) == [1, 3]


def test_a_torn_last_line_of_the_csv_is_left_out(said, tmp_path):
    path = tmp_path / "scores.csv"
    hook_of(said, csv=path)(1, Net())
    path.write_text(path.read_text() + "2,doubles,0,accu")
    hook_of(said, csv=path)(3, Net())
    assert list(pandas.read_csv(path)["step"]) == [1, 3]


def test_another_csv_is_refused_before_training(tmp_path):
    (tmp_path / "losses.csv").write_text("step,loss\n1,2\n")
    with pytest.raises(RunError, match="has the columns step,loss; expected step,task"):
        EvalHook({"doubles": Doubles()}, csv=tmp_path / "losses.csv")


@dataclass
class Clock:
    """Time that passes only while a model answers."""

    now: float = 0.0

    def __call__(self):
        return self.now


@dataclass
class Timed(Model):
    """Takes a second to warm up, then a time for each call and one for each request, on a clock of its own."""

    clock: Clock
    each: float
    cold: list = field(default_factory=lambda: [1.0])
    call: float = 0.0
    name: str = "timed"
    fingerprint: str = "0"

    def fits(self, request):
        return True

    def answers(self, requests):
        self.clock.now += self.call + (self.cold.pop() if self.cold else 0.0)
        for index, _ in enumerate(requests):
            self.clock.now += self.each
            yield index, Completion("4")


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in ("eval_hook", "budget"):
        monkeypatch.setattr(f"kosmos_eval.hook.{module}.monotonic", clock)
    return clock


def timed(hook, clock, model, *steps):
    """The seconds that each of some evaluations takes."""
    took = []
    for step in steps:
        began = clock.now
        hook(step, model)
        took.append(clock.now - began)
    return took


def sizes(hook):
    return [entry.samples for entry in hook.history]


def test_a_budget_is_calibrated_once_and_kept(said, clock):
    model = Timed(clock, each=0.05)
    hook = EvalHook({"doubles": Doubles(10_000)}, every=1, budget="20s", log=said.append)
    assert timed(hook, clock, model, 1, 2) == pytest.approx([18, 17], abs=0.1)
    model.each = 0.02  # the model has become faster; the subset stays, so that the curve compares like with like
    assert timed(hook, clock, model, 3, 4) == pytest.approx([6.8, 6.8], abs=0.1)
    assert sizes(hook) == [pytest.approx((0.9 * 20 - 1) / 0.05, abs=1)] * 4
    assert not any("asked in one go" in line for line in said)


def test_calibration_asks_a_small_part_and_then_the_rest_in_few_goes(said, clock):
    calls = []

    class Counted(Timed):
        def answers(self, requests):
            calls.append(len(requests))
            return super().answers(requests)

    hook = EvalHook({"doubles": Doubles(10_000)}, every=1, budget="20s", log=said.append)
    hook(1, Counted(clock, each=0.05))
    assert calls == [1, 8, 72, 259]


@pytest.mark.parametrize("call", [0.1, 0.4])
def test_what_a_call_costs_whatever_its_size_is_told_from_what_a_sample_costs(said, clock, call):
    model = Timed(clock, each=0.02, call=call)  # as on a GPU
    hook = EvalHook({"doubles": Doubles(10_000)}, every=1, budget=20, shots=(0, 1, 2, 3), log=said.append)
    assert all(14 <= took <= 22 for took in timed(hook, clock, model, 1, 2, 3))


@pytest.mark.parametrize(("each", "says", "then"), [(0.02, 6.8, 900), (0.125, 42.5, 144)])
def test_the_second_evaluation_corrects_a_wrong_calibration_once_and_says_so(said, clock, each, says, then):
    model = Timed(clock, each=0.05)
    hook = EvalHook({"doubles": Doubles(10_000)}, every=1, budget=20, log=said.append)
    hook(1, model)
    model.each = each  # as where other work on the machine begins or ends
    (second,) = timed(hook, clock, model, 2)
    assert second == pytest.approx(max(18.0, says), abs=0.1)
    line = f"step 2: asked in one go, 340 samples take {says} s and not about 20 s; from this step on {then} are asked"
    assert [one for one in said if "in one go" in one] == [f"{line}, so n differs from the step before"]
    assert timed(hook, clock, model, 3) == pytest.approx([18], abs=0.1)
    model.each = 0.05
    values = [dict(hook(step, model))["doubles/0-shot/accuracy/n"] for step in (4, 5)]
    assert values == [then] * 2
    assert sizes(hook) == [340, *[then] * 4]


def test_a_resumed_training_corrects_at_its_second_evaluation_too_and_never_again(said, clock, tmp_path):
    def evaluated(step, each):
        hook = EvalHook({"doubles": Doubles(10_000)}, budget=20, every=1, csv=tmp_path / "s.csv", log=said.append)
        return timed(hook, clock, Timed(clock, each, cold=[]), step), sizes(hook)

    assert evaluated(1, 0.05)[1] == [360]
    assert evaluated(2, 0.5) == ([pytest.approx(180)], [360, 36])
    assert evaluated(3, 0.05) == ([pytest.approx(1.8)], [360, 36, 36])


def test_between_evaluations_no_sample_is_held(said, clock):
    made = []

    class Counted(Samples):
        def _made(self, row):
            made.append(weakref.ref(sample := super()._made(row)))
            return sample

    @dataclass(frozen=True)
    class Lazy(Doubles):
        def samples(self):
            return Counted(range(1000), lambda i: Sample(f"t{i}", Prompt(f"2*{i}="), str(2 * i)))

    hook = EvalHook({"doubles": Lazy()}, every=1, budget=20, log=said.append)
    for step in (1, 2):
        hook(step, Timed(clock, each=0.05))
        assert sizes(hook)[-1] > 300 and not any(sample() for sample in made)


@pytest.mark.parametrize("cold", [5.0, 15.0])
def test_the_first_evaluation_keeps_the_budget_with_its_warming_up(said, clock, cold):
    hook = EvalHook({"doubles": Doubles(10_000)}, every=1, budget=20, log=said.append)
    took = timed(hook, clock, Timed(clock, each=0.05, cold=[cold]), 1, 2)
    assert all(17 <= one <= 20.001 for one in took)


@dataclass(frozen=True)
class Laborious(Doubles):
    """Takes its time to prepare a sample and to make a metric."""

    clock: Clock = field(default_factory=Clock)

    def samples(self):
        def made(row):
            self.clock.now += 0.01
            return Sample(f"t{row}", Prompt(f"2*{row}="), str(2 * row))

        return Samples(range(self.count), made)

    def aggregate(self, samples, scores, *, seed):
        self.clock.now += 2.0
        return means(samples, scores, seed=seed)


def test_preparing_samples_and_making_metrics_are_part_of_the_budget(said, clock):
    model = Timed(clock, each=0.05)
    hook = EvalHook({"laborious": Laborious(10_000, clock)}, every=1, budget=20, log=said.append)
    *early, third = timed(hook, clock, model, 1, 2, 3)
    assert all(17 <= took <= 20.001 for took in early)
    assert 15 <= third <= 18
    assert sizes(hook)[1] == sizes(hook)[2]


def test_small_tasks_leave_their_part_of_the_budget_to_large_ones(said, clock):
    tasks = {"large": Doubles(10_000), "small": Doubles(20)}
    hook = EvalHook(tasks, every=1, budget=20, shots=(0, 2), log=said.append)
    hook(1, Timed(clock, each=0.05))
    found = {(entry.task, entry.shots): entry.samples for entry in hook.history}
    assert found["small", 0] == found["small", 2] == 20
    assert found["large", 0] == pytest.approx(found["large", 2], rel=0.02)
    assert sum(found.values()) == pytest.approx((0.9 * 20 - 1) / 0.05, rel=0.02)


def test_a_budget_too_small_to_tell_anything_is_said(said, clock):
    hook = EvalHook({"doubles": Doubles(10_000)}, every=1, budget=20, log=said.append)
    hook(1, Timed(clock, each=4.0))
    assert hook.history[0].samples == 4
    assert said[0] == "doubles, 0 shots: only 4 samples fit into its part of the budget; give more time"
    hook(2, Timed(clock, each=4.0))
    assert sum("only 4 samples" in line for line in said) == 1


def test_a_limit_is_kept_within_a_budget(said, clock):
    hook = EvalHook({"doubles": Doubles(10_000)}, every=1, budget=20, limit=50, log=said.append)
    hook(1, Timed(clock, each=0.05))
    assert hook.history[0].samples == 50


@pytest.mark.parametrize(("written", "meant"), [("60s", 60), ("1.5 m", 90), ("2h", 7200), (45, 45), ("30", 30)])
def test_a_budget_is_read_with_its_unit(written, meant):
    assert seconds(written) == meant


@pytest.mark.parametrize("written", ["soon", "0s", -1, "1..2s", ""])
def test_a_budget_that_is_no_time_is_refused(written):
    with pytest.raises(KosmosEvalError, match="is no time"):
        EvalHook({"doubles": Doubles()}, budget=written)


def test_an_error_is_reported_and_counted_and_the_training_goes_on(said):
    def broken(net):
        raise RuntimeError("CUDA error\nsecond line")

    hook = hook_of(said, wrap=broken)
    assert hook(1, Net()) == hook(2, Net()) == []
    assert said == [
        f"step {step}: evaluation failed (RuntimeError: CUDA error); training goes on, {step} failed so far"
        for step in (1, 2)
    ]
    assert len(hook.errors) == 2 and "second line" in hook.errors[0] and "in broken" in hook.errors[0]
    hook.wrap = Reckless
    assert dict(hook(3, Net()))["doubles/0-shot/accuracy"] == 100


def test_strict_lets_an_error_through_and_still_puts_all_back(said):
    def broken(net):
        net.eval()
        raise RuntimeError("oops")

    net = Net().train()
    with pytest.raises(RuntimeError, match="oops"):
        hook_of(said, wrap=broken, strict=True)(1, net)
    assert net.training and not said


def test_a_module_without_a_wrap_is_refused_at_once(said):
    with pytest.raises(KosmosEvalError, match="a Net answers no requests; give EvalHook a wrap="):
        hook_of(said, wrap=None)(1, Net())


def test_failed_samples_are_said_and_never_make_a_best(said):
    class Failing(Reckless):
        def answers(self, requests):
            for index, output in super().answers(requests):
                yield index, Failure("overheated") if index == 0 else output

    kept = []
    hook = hook_of(said, wrap=Failing, watch=Watch("doubles", on_best=kept.append))
    hook(1, Net())
    assert said[0].endswith("n 39, 1 failed)")
    assert hook.history[0].failed == 1 and not kept


def entries(*scores, width=10.0):
    return [
        Entry(i, "t", 0, "accuracy", score, score - width, score + width, 50, 0, 50) for i, score in enumerate(scores)
    ]


def test_the_best_step_is_the_first_of_the_highest():
    watch = Watch("t")
    assert watch.best([]) is None
    assert watch.best(entries(10, 30, 20, 30)).step == 1
    assert Watch("t", higher_is_better=False).best(entries(10, 5, 5)).step == 1


def test_noise_neither_resets_nor_uses_up_patience_alone():
    watch = Watch("t", patience=3)
    assert not watch.should_stop(entries(10, 15, 19))
    assert watch.should_stop(entries(10, 15, 19, 12))  # none is above 20, the end of the first interval
    assert not watch.should_stop(entries(10, 15, 19, 21))  # a slow rise counts once it is clear
    assert watch.should_stop(entries(10, 21, 25, 30, 31))
    assert not watch.should_stop(entries(10, 21, 25, 32, 31))
    assert not Watch("t").should_stop(entries(*[10] * 50))


def test_a_falling_metric_is_watched_the_other_way_round():
    watch = Watch("t", higher_is_better=False, patience=2)
    assert watch.should_stop(entries(50, 60, 70))
    assert not watch.should_stop(entries(50, 39, 45))


def test_the_watch_calls_at_the_best_and_stops_a_loop(said):
    kept, rights = [], iter([4, 20, 12, 21, 38])
    hook = hook_of(
        said, wrap=lambda net: Reckless(net, next(rights)), watch=Watch("doubles", patience=2, on_best=kept.append)
    )
    for step in range(5):
        hook(step, Net())
        if hook.should_stop:
            break
    assert step == 3  # neither 12 nor 21 of 40 is beyond the interval of step 1
    assert [entry.step for entry in kept] == [0, 1, 3]


def test_a_watch_of_something_that_is_not_evaluated_is_refused_before_training():
    with pytest.raises(UnknownName, match=r"'double at 0 shots'; did you mean 'doubles at 0 shots'\?"):
        EvalHook({"doubles": Doubles()}, watch=Watch("double"))


def test_a_watched_metric_that_a_task_does_not_have_is_named(said):
    hook = hook_of(said, watch=Watch("doubles", metric="acuracy"))
    assert hook(1, Net()) == []
    assert "no metric of doubles is called 'acuracy'; did you mean 'accuracy'?" in said[0]


def test_tasks_by_name_are_the_bundled_ones():
    with pytest.raises(UnknownName, match="no task is called 'vqaa'"):
        EvalHook(["vqaa"])
    with pytest.raises(KosmosEvalError, match="11 shots are asked for"):
        EvalHook({"doubles": Doubles()}, shots=(11,))
