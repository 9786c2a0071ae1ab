"""The drawing of a training's curves."""

from xml.etree import ElementTree

import pytest

from benchmarks.loss_curve import drawing, losses, scores

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def folder(tmp_path):
    rows = [f"{step},1.0,100,0.001,1.0,{8 / step},{'' if step < 3 else 2.0}" for step in (1, 2, 3, 4)]
    (tmp_path / "losses.csv").write_text("\n".join(["step,seconds,tokens,learning_rate,norm,text,a<b", *rows]) + "\n")
    return tmp_path


def test_losses_are_drawn_by_dataset_from_the_step_at_which_it_begins(folder):
    text, other = losses(folder)
    assert text.points == [(1.0, 8.0), (2.0, 4.0), (3.0, pytest.approx(8 / 3)), (4.0, 2.0)]
    assert other.points == [(3.0, 2.0), (4.0, 2.0)]


def test_without_evaluation_there_is_one_panel_that_is_well_formed(folder):
    page = ElementTree.fromstring(drawing(folder))
    assert len(page.findall(f"{SVG}polyline")) == 2
    assert not page.findall(f"{SVG}polygon")


def test_a_curve_is_broken_where_a_dataset_was_not_read(folder):
    rows = [f"{step},1.0,100,0.001,1.0,{'' if step in (3, 4) else 2.0}" for step in range(1, 7)]
    (folder / "losses.csv").write_text("\n".join(["step,seconds,tokens,learning_rate,norm,text", *rows]) + "\n")
    (text,) = losses(folder)
    assert [[step for step, _ in run] for run in text.runs] == [[1, 2], [5, 6]]
    assert len(ElementTree.fromstring(drawing(folder)).findall(f"{SVG}polyline")) == 2


def test_scores_have_a_panel_for_each_task_with_a_band_for_each_number_of_shots(folder):
    head = "step,task,shots,metric,score,low,high,n,failed,samples"
    rows = ["2,t,0,acc,50.0,40.0,60.0,9,0,9", "2,t,0,other,1.0,0.0,2.0,9,0,9", "4,t,0,acc,70.0,60.0,80.0,9,0,9"]
    (folder / "scores.csv").write_text("\n".join([head, *rows, "4,t,4,acc,30.0,,,9,0,9"]) + "\n")
    (panel,) = scores(folder).items()
    assert panel[0] == "t: acc"
    assert [(one.name, list(one.points), list(one.band)) for one in panel[1]] == [
        ("0 shots", [(2, 50.0), (4, 70.0)], [(2, 40.0, 60.0), (4, 60.0, 80.0)]),
        ("4 shots", [(4, 30.0)], []),
    ]
    assert len(ElementTree.fromstring(drawing(folder)).findall(f"{SVG}polygon")) == 1
