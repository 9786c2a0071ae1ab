"""WebSRC: prompts with and without text, the authors' scores, official files, and what can be wrong."""

import base64
import csv
import json
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from kosmos_eval.errors import BadData
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Completion, Generate
from kosmos_eval.source import Source
from kosmos_tasks.formats import websrc
from kosmos_tasks.websrc import EXAMPLE, WebSRC

PAGE = '<html tid="0"><body><td> Length </td><td>190.7 &quot;</td><!-- no --></body></html>'
QUESTION = {
    "question": "How long?",
    "id": "au080000100000",
    "element_id": "1",
    "answer_start": "0",
    "answer": '190.7 "',
}
IMAGES = "websrc/auto/08/processed_data"


def at(root: Path, *rows: dict[str, str], site: str = "auto/08", **options: Any) -> WebSRC:
    folder = root / "websrc" / site / "processed_data"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "dataset.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        (folder / f"{row['id'][2:9]}.html").write_text(PAGE)
        PIL.Image.new("RGB", (8, 8)).save(folder / f"{row['id'][2:9]}.png")
    return WebSRC(Source("data", root), **options)


def test_the_zero_shot_prompt_is_the_papers_with_the_text_and_without_it(tmp_path: Path) -> None:
    task = at(tmp_path, QUESTION)
    (sample,) = task.samples()
    shown = Image(tmp_path / IMAGES / "0800001.png")
    assert EXAMPLE.startswith(
        "Given the context below from web page, extract the answer from the given text like this: Q"
    )
    assert task.requests(sample, []) == [
        Generate(Prompt(shown, f'{EXAMPLE} Context: Length 190.7 " Q: How long? A:'), 32, stop=("\n",)),
        Generate(Prompt(shown, f"{EXAMPLE} Q: How long? A:"), 32, stop=("\n",)),
    ]


def test_the_one_shot_prompt_shows_a_page_with_its_text(tmp_path: Path) -> None:
    at(tmp_path, {**QUESTION, "id": "au030000200000"}, site="auto/03")
    task = at(tmp_path, QUESTION, text="with")
    (sample,), (shot,) = task.samples(), task.examples()
    (request,) = task.requests(sample, [shot])
    asked = f'<image>{EXAMPLE} Context: Length 190.7 " Q: How long? A:'
    assert request.prompt.text() == f'{asked} 190.7 "\n{asked}'
    (request,) = at(tmp_path, QUESTION, text="without").requests(sample, [shot])
    assert "Context:" not in request.prompt.text()


def test_marks_are_those_of_the_authors_with_text_and_without(tmp_path: Path) -> None:
    task = at(tmp_path, QUESTION)
    score = task.score(task.samples()[0], [Completion(" 190.7"), Completion("190.7 m")])
    assert dict(score.values) == {
        "EM": 1.0,
        "F1": 1.0,
        "EM_without_text": 0.0,
        "F1_without_text": pytest.approx(2 / 3),
    }
    assert (score.answer, score.record) == ("190.7", {"without_text": "190.7 m"})


def test_a_text_is_cut_where_the_user_says(tmp_path: Path) -> None:
    task = at(tmp_path, QUESTION, max_characters=6, text="with")
    (request,) = task.requests(task.samples()[0], [])
    assert "Context: Length Q:" in request.prompt.text()


def test_sites_are_split_as_published_and_test_has_no_answers(tmp_path: Path) -> None:
    unanswered = {"question": "How long?", "id": "au020000100000"}
    at(tmp_path, unanswered, site="auto/02")
    at(tmp_path, {**QUESTION, "id": "mo040000100000"}, site="movie/04")
    task = at(tmp_path, QUESTION)
    assert (task.split, websrc.splits(task.source)) == ("dev", ("dev", "train", "test"))
    test = WebSRC(Source("data", tmp_path, "test"))
    (sample,) = test.samples()
    score = test.score(sample, [Completion("x"), Completion("y")])
    assert not score.values
    assert test.submission([sample], [score]) == ("prediction.json", '{"au020000100000": "x"}')
    assert task.submission(task.samples(), [score]) is None


def test_archives_of_several_splits_may_nest_their_sites(tmp_path: Path) -> None:
    at(tmp_path, QUESTION, site="WebSRC_v1.0_train+dev/auto/08")
    at(tmp_path, QUESTION | {"id": "au020100001001"}, site="WebSRC_v1.0_test/auto/02")
    task = at(tmp_path, QUESTION | {"id": "bo010100001001"}, site="WebSRC_v1.0_train+dev/book/01")
    assert [sample.group for sample in task.samples()] == ["au0800001"]
    assert [shot.group for shot in task.examples()] == ["bo0101000"]


def test_answers_made_elsewhere_are_marked(tmp_path: Path) -> None:
    task = at(tmp_path, QUESTION)
    file = tmp_path / "prediction.json"
    file.write_text(json.dumps({"au080000100000": "190.7"}))
    answers = task.official().read_answers(file)
    assert dict(task.score_answer(task.samples()[0], answers["au080000100000"]).values) == {"EM": 1.0, "F1": 1.0}
    file.write_text("[]")
    with pytest.raises(BadData, match=r"is not \{\"id\": \"answer\""):
        task.read_answers(file)


def test_a_malformed_row_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"line 3 of .*dataset\.csv has 'question' ''; expected some text"):
        at(tmp_path, QUESTION, QUESTION | {"question": ""}).samples()


def test_a_missing_page_is_named(tmp_path: Path) -> None:
    task = at(tmp_path, QUESTION)
    (tmp_path / IMAGES / "0800001.html").unlink()
    with pytest.raises(BadData, match=r"line 2 of .*dataset\.csv asks about 0800001\.html, which is not in"):
        task.samples()


def test_the_hubs_copy_is_asked_without_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets

    PIL.Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    encoded = (tmp_path / "a.png").read_bytes()
    row = {"domain": "auto", "page_id": "0800001", "question": "How long?", "answer": "1 m"}
    found = datasets.Dataset.from_list([row | {"image": base64.b64encode(encoded).decode()}])
    monkeypatch.setattr(websrc, "from_hub", lambda name, *, source, split: found)
    task = WebSRC(Source("hub", revision=str(tmp_path)))
    (sample,) = task.samples()
    assert (sample.id, sample.group) == ("dev/0", "auto/0800001")
    (request,) = task.requests(sample, [])
    assert request.prompt == Prompt(Image(encoded), f"{EXAMPLE} Q: How long? A:")
    assert list(task.score(sample, [Completion("1 m")]).values) == ["EM_without_text", "F1_without_text"]


def test_generated_pages_hold_their_answers_and_are_not_on_both_sides() -> None:
    task = WebSRC()
    samples, shown = list(task.samples()), list(task.examples())
    assert {sample.group for sample in samples}.isdisjoint(shot.group for shot in shown)
    spans = [sample for sample in samples if sample.target not in ("yes", "no")]
    assert len(spans) == 2 * len(samples) / 3
    assert all(sample.target in sample.extra["context"] for sample in spans)
    yes = sum(sample.target == "yes" for sample in samples) / (len(samples) - len(spans))
    assert 0.35 < yes < 0.65


def test_real_pages_hold_the_answers_to_their_questions(real_data: Path) -> None:
    for split, count in (("dev", 5), ("train", 15)):
        samples = list(WebSRC(Source("data", real_data, split)).samples())
        assert len(samples) == count
        spans = [sample for sample in samples if sample.target not in ("yes", "no")]
        assert all(sample.target in sample.extra["context"] for sample in spans)
        assert all(sample.prompt.images[0].pixels().width > 500 for sample in samples)
