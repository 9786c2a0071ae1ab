"""A command removes from a folder what it has marked as its own there, and nothing else."""

from pathlib import Path

import pytest

from kosmos_eval.errors import RunError
from kosmos_eval.files import clear_made, made_by, mark_made, output_folder, refuse_foreign


def test_what_was_marked_is_removed_and_nothing_beside_it(tmp_path: Path) -> None:
    folder, other = tmp_path / "out", tmp_path / "other"
    mark_made(folder, "kosmos-eval train", ["model", "losses.csv", "link", "never"])
    (folder / "model").mkdir()
    (folder / "model" / "a").touch()
    (folder / "losses.csv").touch()
    (folder / "mine").touch()
    other.mkdir()
    (folder / "link").symlink_to(other)
    clear_made(folder, "kosmos-eval train")
    assert [path.name for path in folder.iterdir()] == ["mine"]
    assert other.is_dir()


def test_what_is_there_already_is_not_marked(tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to("nowhere")
    for note in (refuse_foreign, mark_made):
        with pytest.raises(RunError, match="model was not made by 'kosmos-eval train'; move it away or choose another"):
            note(tmp_path, "kosmos-eval train", ["model"])
    assert made_by(tmp_path, "kosmos-eval train") == frozenset()


def test_a_folder_of_another_command_is_refused(tmp_path: Path) -> None:
    mark_made(tmp_path, "kosmos-eval clean", ["work"])
    (tmp_path / "work").mkdir()
    with pytest.raises(
        RunError, match="was made by 'kosmos-eval clean', not 'kosmos-eval train'; choose another --out"
    ):
        clear_made(tmp_path, "kosmos-eval train")
    assert (tmp_path / "work").is_dir()


@pytest.mark.parametrize("names", ['[".."]', '["a/b"]', '[""]', '["/"]', "3", '"model"'])
def test_a_marker_with_other_than_names_of_entries_is_refused(tmp_path: Path, names: str) -> None:
    (tmp_path / ".kosmos-eval").write_text(f'{{"made_by": "kosmos-eval train", "made": {names}}}')
    (tmp_path / "model").mkdir()
    if names != '"model"':
        with pytest.raises(RunError, match=r"\.kosmos-eval (names|cannot be read)"):
            clear_made(tmp_path, "kosmos-eval train")
    else:
        clear_made(tmp_path, "kosmos-eval train")  # letters, none of which is there
    assert (tmp_path / "model").is_dir()


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_folder_name_is_refused(name: str) -> None:
    with pytest.raises(RunError, match="--out is empty; expected the name of a folder"):
        output_folder(name)
