import io

import pandas
from rich.console import Console

from kosmos_eval import Generate, Image, Metric, Prompt
from kosmos_eval.evaluation.results import Report, rows
from kosmos_eval.evaluation.variant import SettingKey
from kosmos_eval.report import prompts
from kosmos_eval.report.console import print_report


def report(**metrics):
    return Report("model", tuple(rows(SettingKey("task", 2), metrics, shown=1.5, failed=0, notes=["extension"])))


def printed(found):
    console = Console(file=io.StringIO(), width=160)
    print_report(found, console)
    return console.file.getvalue()


def test_rates_are_shown_in_per_cent_and_other_scales_as_they_are():
    said = printed(
        report(
            accuracy=Metric(0.5, 0.25, 0.75, 8, chance=1 / 6, p_value=0.012),
            CIDEr=Metric(1.5158, None, None, 8, unit=""),
        )
    )
    assert "50.00 %" in said and "25.00 – 75.00" in said and "16.67" in said and "0.012" in said
    assert "1.516" in said
    assert "extension; 1.5 shots fitted" in said


def test_failed_samples_mark_the_row_incomplete():
    said = printed(
        Report("m", tuple(rows(SettingKey("t"), {"a": Metric(1.0, 0.8, 1.0, 9)}, shown=0, failed=3, notes=[])))
    )
    assert "incomplete: 3 failed" in said


def test_brackets_in_names_are_no_markup():
    assert "accuracy[red]" in printed(report(**{"accuracy[red]": Metric(0.5, None, None, 2)}))


def test_csv_keeps_full_precision_and_leaves_unknowns_empty():
    found = report(accuracy=Metric(1 / 3, 0.1, 0.6, 3), CIDEr=Metric(1.515800745095883, None, None, 3, unit=""))
    frame = pandas.read_csv(io.StringIO(found.csv()))
    assert list(frame["score"]) == [1 / 3 * 100, 1.515800745095883]
    assert list(frame["unit"].fillna("")) == ["%", ""]
    assert frame["low"].isna().tolist() == [False, True]


def test_html_escapes_text_and_names():
    prompt = Prompt("<script>alert(1)</script>", Image.drawn(__import__("PIL.Image").Image.new("RGB", (3, 3))))
    body = prompts.as_html(prompt)
    assert "<script>" not in body and "&lt;script&gt;" in body and body.count("<img ") == 1
    assert "<h1>a&amp;b</h1>" in prompts.page("a&b", "")


def test_a_terminal_gets_the_picture_itself():
    import PIL.Image

    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=80)
    console.print(prompts.on_console(Prompt(Image.drawn(PIL.Image.new("RGB", (4, 4), (255, 0, 0))), "?"), console))
    said = console.file.getvalue()
    assert said.count("▀") == prompts.COLUMNS**2 // 2
    assert "255;0;0" in said


def test_a_beam_search_says_how_it_ends():
    assert prompts.asked_for(Generate(Prompt("a"), 9, beams=3)) == "→ generate: beam 3, at most 9 tokens"
    late = Generate(Prompt("a"), 9, beams=3, early_stopping=False)
    assert prompts.asked_for(late) == "→ generate: beam 3 without early stopping, at most 9 tokens"
