import base64
import io
import json
import re
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import PIL.Image
import pytest

from kosmos_eval import (
    Completion,
    Failure,
    Generate,
    Image,
    Likelihoods,
    LogLikelihood,
    Prompt,
    Sample,
    Score,
    Source,
    few_shot,
)
from kosmos_eval.analysis.published import Reported
from kosmos_eval.analysis.saved_run import open_run
from kosmos_eval.cli import results, run
from kosmos_eval.evaluation.evaluator import evaluate
from kosmos_eval.evaluation.results import Row
from kosmos_eval.evaluation.run_config import RunConfig
from kosmos_eval.evaluation.setup import load_tasks
from kosmos_eval.evaluation.variant import Variants
from kosmos_eval.model import Model
from kosmos_eval.registry import TASKS, load_file
from kosmos_eval.report import html, side_by_side, write
from kosmos_eval.report.charts import HEIGHT, At, curve
from kosmos_eval.report.samples import LEFT_OUT, UNREADABLE, Album, entries
from kosmos_eval.task import Task

HOSTILE = "<script>window.pwned=1</script><img src=x onerror=window.pwned=1>"
COLOURS = ("red", "blue", "green")
PICTURES = {colour: Image.drawn(PIL.Image.new("RGB", (300, 200), colour)) for colour in COLOURS}


@dataclass(frozen=True)
class Colours(Task):
    """Which of three colours? Some questions are asked openly, and one fails."""

    source: Source = Source()
    count: int = 45
    text: str = HOSTILE

    def samples(self):
        return [self.sample(f"s{n}", COLOURS[n % 3], f"Question {n} {self.text}? Answer:") for n in range(self.count)]

    def sample(self, id, colour, text):
        kind = "warm" if colour == "red" else "cold"
        return Sample(id, Prompt(PICTURES[colour], text), colour, (colour,), COLOURS, kind=kind)

    def examples(self):
        return [self.sample(f"e{n}", COLOURS[n % 3], f"Example {n}? Answer:") for n in range(9)]

    def requests(self, sample, shots):
        prompt = few_shot(sample, shots)
        if sample.id == "s1":
            return [Generate(prompt, 5)]
        return [LogLikelihood(prompt, tuple(f" {colour}" for colour in COLOURS))]

    def score(self, sample, outputs):
        if isinstance(outputs[0], Completion):
            return Score({"accuracy": 0.5}, outputs[0].text)
        found = dict(zip(outputs[0].logprobs, COLOURS, strict=True))
        return Score({"accuracy": float(found[max(found)] == sample.target)}, found[max(found)])


@dataclass(frozen=True)
class AlwaysRed(Model):
    name: str = f"red {HOSTILE}"
    fingerprint: str = "1"

    def fits(self, request):
        return True

    def answers(self, requests):
        for index, request in enumerate(requests):
            if request.prompt.text().endswith(f"Question 2 {HOSTILE}? Answer:"):
                yield index, Failure(f"gone {HOSTILE}")
            elif isinstance(request, Generate):
                yield index, Completion(f"so {HOSTILE}")
            else:
                yield index, Likelihoods((-0.25, -1.5, -2.75), (1, 1, 1), (True, False, False))


def ran(folder, task, model=None, *, shots=(0, 2), variants=None):
    """Return a run of a task that is registered as ``colours``, read again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["kosmos-eval", HOSTILE])
        evaluate(model or AlwaysRed(), {"colours": task}, shots=shots, variants=variants, out=folder)
    return open_run(folder)


@pytest.fixture(scope="module", autouse=True)
def registered():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, "colours", Colours)
        yield


@pytest.fixture(scope="module")
def saved(tmp_path_factory, registered):
    return ran(tmp_path_factory.mktemp("run"), Colours())


@pytest.fixture(scope="module")
def page(saved):
    write(saved.folder)
    return saved.folder / "report.html"


def data(path):
    """What the page's script reads."""
    content = path.read_text(encoding="utf-8")
    found = {name: re.search(f'id="{name}">(.*)</script>', content)[1] for name in ("data", "images")}
    return json.loads(found["data"]), json.loads(found["images"])


def test_the_page_needs_nothing_beside_itself(page):
    content = page.read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#|data:)""", content)
    assert "http://" not in content and "https://" not in content
    assert "default-src 'none'" in content


def test_no_text_of_the_data_becomes_markup(page):
    content = page.read_text(encoding="utf-8")
    assert "window.pwned" in content
    assert "<script>window.pwned" not in content and "<img" not in content
    assert content.count("</script>") == 3


def test_no_text_of_the_data_becomes_markup_where_runs_stand_beside_each_other(saved):
    content = side_by_side.page([saved, saved], limit=3)
    assert content.count("&lt;script&gt;window.pwned") >= 3 * 2 + 2 and "gone &lt;script" in content
    assert "<script" not in content and "<img src=x" not in content


def test_each_image_is_stored_once_and_small(page):
    _, images = data(page)
    assert len(images) == 3
    assert all(url.startswith("data:image/webp;base64,") for url in images)
    sizes = {PIL.Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).size for url in images}
    assert sizes == {(224, 149)}


def test_a_sample_stands_there_with_prompt_candidates_answer_and_values(page):
    found = data(page)[0]["samples"]
    assert len(found) == 90
    sample = found[45]
    assert (sample["id"], sample["outcome"], sample["values"], sample["answer"]) == (
        "s0",
        "correct",
        {"accuracy": 1},
        "red",
    )
    assert sample["shown"] == 2 and [type(part) for part in sample["shots"]] == [int, str, int, str]
    assert sample["shots"][3].endswith("\n") and sample["opening"][1] == f"Question 0 {HOSTILE}? Answer:"
    assert sample["requests"][0]["likelihoods"] == [[" red", -0.25, 1], [" blue", -1.5, 1], [" green", -2.75, 1]]
    assert [one["outcome"] for one in found[:4]] == ["correct", "partial", "failed", "correct"]


def test_failed_samples_mark_the_rows_and_the_page(page):
    content = page.read_text(encoding="utf-8")
    assert "Incomplete.</strong> 2 samples failed" in content
    assert content.count("incomplete: 1 failed") == 2


def test_the_papers_number_stands_there_with_where_it_comes_from(saved, monkeypatch):
    place = (3, "KOSMOS-1", "colours", 0, "accuracy")
    number = Reported(*place, 51.4, "%", "", None, f"prompt not stated {HOSTILE}", "M", "")
    monkeypatch.setattr(html, "published", lambda row, run: number if row.shots == 0 else None)
    content = html.page(saved)
    assert content.count("51.40 %") == 1 and content.count("<small>unverified</small>") == 1
    assert "table 3: prompt not stated &lt;script&gt;" in content and "<script>window.pwned" not in content


def test_data_that_changed_since_are_marked(saved, monkeypatch):
    class Changed(Colours):
        def sample(self, id, colour, text):
            return super().sample(id, colour, "?")

    monkeypatch.setitem(TASKS, "colours", Changed)
    assert "Data changed.</strong> 90 prompts" in html.page(open_run(saved.folder))


def test_a_page_without_the_data_says_why_and_shows_what_the_folder_holds(page, monkeypatch, tmp_path):
    monkeypatch.delitem(TASKS, "colours")
    copy = write(shutil.copytree(page.parent, tmp_path / "copy")).folder / "report.html"
    assert "Prompts and images are not shown.</strong> no task is called &#39;colours&#39;" in copy.read_text()
    (whole, _), (found, images) = data(page), data(copy)
    for one, other in zip(whole["samples"], found["samples"], strict=True):
        assert all(one[name] == other[name] for name in ("id", "outcome", "values", "answer", "target", "error"))
        assert not other["opening"] and not other["changed"]
    assert not images


def test_an_image_that_cannot_be_read_and_one_too_many_have_their_own_places(tmp_path):
    album = Album(side=64, room=0)
    assert album.place(PICTURES["red"]) == 0
    assert album.place(PICTURES["blue"], demonstration=True) == LEFT_OUT
    assert album.place(PICTURES["red"], demonstration=True) == 0
    assert album.place(Image(tmp_path / "gone.png")) == UNREADABLE
    assert album.place("text") == "text"


def only_entry(folder):
    """Return a run's only sample, as a page shows it."""
    run = open_run(folder)
    (setting,), (planned,) = run.settings, run.plan
    (entry,) = entries(setting, planned, Album(64), number=0)
    return entry


def test_what_all_requests_share_stands_once(tmp_path, monkeypatch):
    task = Colours()
    sample = replace(task.sample("x", "red", "these:"), choices=("1", "2"))

    @dataclass(frozen=True)
    class Candidates(Colours):
        def samples(self):
            return [sample]

        def requests(self, sample, shots):
            parts = [Prompt(sample.prompt, " so:", PICTURES[colour], "right?") for colour in ("blue", "green")]
            return [LogLikelihood(few_shot(replace(sample, prompt=part), shots), (" Yes",)) for part in parts]

        def score(self, sample, outputs):
            return Score({"accuracy": 1.0}, "1")

    class Yes(AlwaysRed):
        def answers(self, requests):
            return ((index, Likelihoods((-float(index),), (1,), (True,))) for index in range(len(requests)))

    monkeypatch.setitem(TASKS, "colours", Candidates)
    ran(tmp_path, Candidates(), Yes(), shots=(1,))
    entry = only_entry(tmp_path)
    assert [p if isinstance(p, str) else "IMG" for p in entry["opening"]] == ["IMG", "these: so:"]
    assert entry["ending"] == ["right?"]
    assert [request["label"] for request in entry["requests"]] == ["1", "2"]
    assert [len(request["parts"]) for request in entry["requests"]] == [1, 1]
    assert [request["likelihoods"] for request in entry["requests"]] == [[(" Yes", 0.0, 1)], [(" Yes", -1.0, 1)]]
    assert not entry["changed"]


def row(shots, score, low, high, **rest):
    given = {"unit": "%", "n": 9, "failed": 0, "chance": None, "p_value": None, "effective_shots": shots, "note": ""}
    return Row("t", shots, "m", score, low, high, **given | rest)


def test_a_curve_keeps_the_order_of_scores_and_holds_its_intervals():
    drawn = curve([At(row(4, 60.0, 50.0, 70.0)), At(row(0, 20.0, 10.0, 30.0, chance=25.0))])
    band, _, line, _ = drawn.series
    few, many = line.points
    assert (few.title[:7], many.title[:7]) == ("0 shots", "4 shots") and few.x < many.x
    assert 0 < many.high < many.y < many.low < drawn.level[0] < few.low < HEIGHT
    assert many.y - many.high == pytest.approx(few.low - few.y)
    assert [label for _, label in drawn.upward.ticks()] == ["20", "40", "60"]
    assert band.line.count(",") == 4


def test_one_number_of_shots_makes_no_curve():
    assert curve([At(row(0, 20.0, None, None))]) is None
    assert curve([At(row(0, 20.0, None, None)), At(row(2, float("nan"), None, None))]) is None


# What follows clicks in a real browser, where there is one.


def click(browser, selector):
    browser.run(f"document.querySelector('{selector}').click()")


def choose(browser, menu, value):
    browser.run(f"var menu = document.querySelector('#{menu}'); menu.value = '{value}'")
    browser.run("menu.dispatchEvent(new Event('change'))")


def search(browser, text):
    browser.run(f"var s = document.querySelector('#search'); s.value = '{text}'; s.dispatchEvent(new Event('input'))")
    browser.run("new Promise((done) => setTimeout(done, 200))")


def test_hostile_text_is_shown_and_never_run(page, browser):
    browser.open(page)
    assert browser.run("window.pwned === undefined")
    assert HOSTILE in browser.run("document.querySelector('article .prompt').textContent")
    assert HOSTILE in browser.run("document.querySelector('h1').textContent")
    assert browser.run("document.querySelectorAll('article img[src=x], article script').length") == 0


def test_outcomes_filter_by_a_click(page, browser):
    browser.open(page)
    assert browser.count() == "1–20 of 90"
    click(browser, "[data-outcome=failed]")
    assert browser.shown() == ["s2", "s2"]
    assert "gone" in browser.run("document.querySelector('article dl').textContent")
    click(browser, "[data-outcome=partial]")
    assert browser.shown() == ["s1", "s1"]
    click(browser, "[data-outcome=correct]")
    assert browser.count() == "1–20 of 30"
    assert browser.run("document.querySelector('[data-outcome=correct]').textContent") == "correct 30"
    click(browser, "[data-outcome=all]")
    assert browser.count() == "1–20 of 90"


def test_menus_and_search_narrow_together(page, browser):
    browser.open(page)
    choose(browser, "shots", "2")
    assert browser.count() == "1–20 of 45"
    choose(browser, "kind", "warm")
    assert browser.count() == "1–15 of 15"
    search(browser, "QUESTION 12 ")
    assert browser.shown() == ["s12"]
    assert browser.run("document.querySelectorAll('article details.shots img').length") == 2
    search(browser, "nothing at all")
    assert browser.count() == "no sample matches"


def test_pages_turn_and_keep_to_their_ends(page, browser):
    browser.open(page)
    assert browser.run("document.querySelector('.previous').disabled")
    for _ in range(4):
        click(browser, ".next")
    assert browser.count() == "81–90 of 90" and browser.run("document.querySelector('.next').disabled")
    assert browser.shown()[-1] == "s44"
    choose(browser, "order", "low")
    assert browser.count() == "1–20 of 90"
    assert "0 %" in browser.run("document.querySelector('article h3').textContent")


def test_variants_are_told_apart_in_tables_curves_and_samples(tmp_path, browser):
    ran(tmp_path, Colours(count=6, text="?"), variants=Variants(with_blind=True, seeds=2))
    write(tmp_path)
    browser.open(tmp_path / "report.html", width=390)
    assert browser.run("document.documentElement.scrollWidth") <= 390
    heads = browser.run(
        "[...document.querySelectorAll('#scores thead')[0].querySelectorAll('th')].map((h) => h.innerText)"
    )
    assert "blind" in heads and len(browser.run("[...document.querySelectorAll('#scores td.blind')].map(String)")) == 2
    assert browser.run("document.querySelectorAll('#curves circle.draw').length") == 2
    assert browser.run("document.querySelectorAll('#curves polyline.blind').length") == 1
    assert "2 draws of demonstrations" in browser.run("document.querySelector('#spread table').innerText")
    choose(browser, "variant", "images=blank,seed=1")
    assert browser.count() == "1–6 of 6"
    assert "images=blank,seed=1" in browser.run("document.querySelector('article h3').textContent")


def test_samples_that_are_correct_once_and_incorrect_once_vary(tmp_path, browser, monkeypatch):
    def sometimes(sample, outputs):
        return Score({"accuracy": float(outputs[0].logprobs[0] > -1 or sample.id == "s0")}, "red")

    class Unsure(AlwaysRed):
        def answers(self, requests):
            for index, request in enumerate(requests):
                sure = len(request.prompt.images) == 1
                yield index, Likelihoods((-0.25 if sure else -2.0, -1.5, -2.75), (1, 1, 1), (True, False, False))

    class Swayed(Colours):
        def requests(self, sample, shots):
            return [LogLikelihood(few_shot(sample, shots), tuple(f" {colour}" for colour in COLOURS))]

        score = staticmethod(sometimes)

    monkeypatch.setitem(TASKS, "colours", Swayed)
    ran(tmp_path, Swayed(count=3, text="?"), Unsure())
    write(tmp_path)
    browser.open(tmp_path / "report.html")
    click(browser, "[data-outcome=varies]")
    assert browser.shown() == ["s1", "s2", "s1", "s2"]


def test_the_keyboard_reaches_filters_and_pages_and_focus_is_seen(page, browser):
    browser.open(page)
    click(browser, "[data-outcome=incorrect]")
    assert browser.run("document.activeElement.dataset.outcome") == "incorrect"
    reached = browser.run(
        "[...document.querySelectorAll('a, button, select, input, summary')]"
        ".every((one) => one.tabIndex === 0 && (one.innerText || one.labels?.length || one.ariaLabel))"
    )
    assert reached


def test_candidates_stand_with_their_log_probabilities(page, browser):
    browser.open(page)
    rows = browser.run("[...document.querySelectorAll('article .asked')[1].rows].map((row) => row.innerText)")
    assert [text.split()[:2] for text in rows[1:]] == [["red", "-0.250"], ["blue", "-1.500"], ["green", "-2.750"]]
    assert "chosen" in rows[1]


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_scrolls_one_way_only_and_text_keeps_its_contrast(page, browser, dark):
    browser.open(page, width=390, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= 390
    names = ("ink", "soft", "accent", "correct", "incorrect", "partial", "failed", "edge", "ground", "raised", "mark")
    read = browser.run(f"{list(names)}.map((v) => getComputedStyle(document.body).getPropertyValue('--' + v))")
    light = dict(zip(names, map(luminance, read), strict=True))
    for ground in ("ground", "raised", "mark"):
        for name in names[:7]:
            assert contrast(light[name], light[ground]) >= 4.5, (name, ground)
    assert contrast(light["edge"], light["raised"]) >= 3  # what fields and buttons are seen by


def contrast(one, other):
    """WCAG's ratio of two luminances, 1 to 21."""
    low, high = sorted((one, other))
    return (high + 0.05) / (low + 0.05)


def luminance(colour):
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour.strip()[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_a_run_leaves_its_page_unless_told_not_to_and_report_makes_it_again(tmp_path):
    load_file(Path(__file__).parents[1] / "fixtures" / "toy.py")
    PIL.Image.new("RGB", (8, 8), "red").save(tmp_path / "0.png")
    (tmp_path / "rows.json").write_text(json.dumps({"rows": [{"id": "0", "file": "0.png", "colour": "red"}]}))
    tasks, folder = load_tasks(["toy"], Source("data", tmp_path)), tmp_path / "run"

    def finished(**options):
        config = RunConfig("scripted:red")
        run.finish(run.evaluate_config(config, tasks, out=folder, device="cpu"), **options)

    finished(html=False)
    path = folder / "report.html"
    assert not path.exists()
    results.report(folder)
    made = data(path)
    assert made[0]["samples"][0]["answer"] == "red"
    path.unlink()
    finished()
    assert data(path) == made
    (tmp_path / "0.png").write_bytes(PICTURES["blue"].encoded())
    results.report(folder)
    assert data(path)[0]["samples"][0]["changed"]


def test_every_stage_of_a_task_is_shown(tmp_path, monkeypatch):
    @dataclass(frozen=True)
    class Staged(Colours):
        def requests(self, sample, shots):
            return [Generate(few_shot(sample, shots), 5)]

        def follow_up(self, sample, shots, outputs):
            return [Generate(Prompt(few_shot(sample, shots), outputs[0].text, " So?"), 5)] if len(outputs) == 1 else []

    monkeypatch.setitem(TASKS, "colours", Staged)
    ran(tmp_path, Staged(count=1, text=""), shots=(1,))
    entry = only_entry(tmp_path)
    assert [request["text"] for request in entry["requests"]] == [f"so {HOSTILE}"] * 2
    assert entry["requests"][1]["parts"] == [f"Question 0 ? Answer:so {HOSTILE} So?"]
    assert not entry["changed"] and len(entry["shots"]) == 2
