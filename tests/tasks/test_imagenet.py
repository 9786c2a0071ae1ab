"""ImageNet: prompts, exact names, duplicates and prefixes among them, folders and flat files and what can be wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from kosmos_eval.errors import BadData, UnknownName
from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Completion, Generate, Likelihoods, LogLikelihood
from kosmos_eval.source import Source
from kosmos_eval.task import means
from kosmos_tasks.formats.imagenet import classes
from kosmos_tasks.imagenet import ImageNet

TENCH, SNAKE, MISSILE, PROJECTILE = "n01440764", "n01751748", "n03773504", "n04008634"


def picture(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (4, 4), "white").save(file, "JPEG")


def folders(root: Path, split: str = "val", wnids: tuple[str, ...] = (SNAKE, TENCH)) -> Path:
    """An image for each class, in a folder named by its wnid."""
    for wnid in wnids:
        picture(root / "imagenet" / split / wnid / f"ILSVRC2012_{split}_1.JPEG")
    return root


def flat(root: Path, truth: str, text: str, *, count: int = 2) -> Path:
    """The first images of the validation set, with a ground truth."""
    for place in range(1, count + 1):
        picture(root / "imagenet" / "val" / f"ILSVRC2012_val_{place:08d}.JPEG")
    (root / "imagenet" / truth).write_text(text)
    return root


def kit(root: Path, order: list[str]) -> None:
    """The development kit's meta.mat, which counts from 1 in an order of its own and names inner nodes too."""
    import numpy as np
    from scipy.io import savemat

    synsets = np.zeros(len(order), dtype=[("ILSVRC2012_ID", object), ("WNID", object)])
    synsets["ILSVRC2012_ID"] = range(1, len(order) + 1)
    synsets["WNID"] = order
    savemat(root / "imagenet" / "meta.mat", {"synsets": synsets.reshape(-1, 1)})


def at(root: Path, split: str | None = None, **options: Any) -> ImageNet:
    return ImageNet(Source("data", root, split), **options)


def test_there_are_a_thousand_names_of_which_two_stand_twice() -> None:
    names = list(classes().values())
    assert len(classes()) == len(names) == 1000
    assert list(classes()) == sorted(classes())
    assert {name for name in names if names.count(name) > 1} == {"missile", "sunglasses"}
    assert (classes()[TENCH], classes()["n02012849"], classes()["n03126707"]) == (
        "tench",
        "crane bird",
        "construction crane",
    )


def test_the_zero_shot_prompt_is_the_papers_constrained_and_free(tmp_path: Path) -> None:
    task = at(folders(tmp_path))
    sample = task.samples()[0]
    prompt = Prompt(Image(tmp_path / "imagenet" / "val" / TENCH / "ILSVRC2012_val_1.JPEG"), "The photo of the")
    constrained, free = task.requests(sample, [])
    assert isinstance(constrained, Generate)
    assert constrained.choices is not None
    assert (constrained.prompt, constrained.beams, len(constrained.choices)) == (prompt, 2, 998)
    assert (constrained.choices[0], constrained.stop) == (" tench", ())
    assert free == Generate(prompt, max_tokens=32, stop=("\n",), beams=2)


def test_the_one_shot_prompt_shows_a_named_photograph_above(tmp_path: Path) -> None:
    task = at(folders(folders(tmp_path), "train"))
    sample, shot = task.samples()[0], task.examples()[1]
    (shown,), (asked,) = shot.prompt.images, sample.prompt.images
    expected = Prompt(shown, "The photo of the sea snake\n", asked, "The photo of the")
    assert [request.prompt for request in task.requests(sample, [shot])] == [expected, expected]


def test_all_names_compete_whatever_classes_are_there(tmp_path: Path) -> None:
    samples = at(folders(tmp_path)).samples()
    assert [sample.target for sample in samples] == ["tench", "sea snake"]
    assert all(len(sample.choices) == 1000 for sample in samples)


def test_only_the_exact_name_is_right(tmp_path: Path) -> None:
    task = at(folders(tmp_path))
    sample = task.samples()[0]
    score = task.score(sample, [Completion(" tench"), Completion(" tench.")])
    assert score.values == {"accuracy_constrained": 1.0, "accuracy_unconstrained": 0.0}
    assert (score.answer, score.record) == ("tench", {"unconstrained": "tench."})
    assert list(task.score(sample, [Completion(" Tench"), Completion("tench ")]).values.values()) == [0.0, 1.0]


def test_a_name_of_two_classes_is_half_right(tmp_path: Path) -> None:
    task = at(folders(tmp_path, wnids=(MISSILE, PROJECTILE)))
    for sample in task.samples():
        assert sample.target == "missile"
        score = task.score(sample, [Completion(" missile"), Completion(" missile")])
        assert score.values == {"accuracy_constrained": 0.5, "accuracy_unconstrained": 0.5}


def test_chance_is_one_in_a_thousand_and_in_the_synthetic_split_one_in_ten(tmp_path: Path) -> None:
    for task, chance in ((at(folders(tmp_path)), 0.001), (ImageNet(), 0.1)):
        samples = task.samples()[:2]
        scores = [task.score(sample, [Completion("no"), Completion("no")]) for sample in samples]
        metrics = means(samples, scores)
        assert list(metrics) == ["accuracy_constrained", "accuracy_unconstrained"]
        assert metrics["accuracy_constrained"].chance == pytest.approx(chance)


def test_likelihoods_of_all_names_score_their_end_and_share_duplicates(tmp_path: Path) -> None:
    task = at(folders(tmp_path, wnids=(MISSILE,)), constrained_by="likelihood")
    (sample,) = task.samples()
    constrained, _ = task.requests(sample, [])
    assert isinstance(constrained, LogLikelihood)
    assert constrained.terminated, "pig would win over piggy bank"
    assert constrained.continuations == tuple(f" {name}" for name in classes().values())
    logprobs = [-1.0 if name == "missile" else -9.0 for name in classes().values()]
    output = Likelihoods(tuple(logprobs), (1,) * 1000, (False,) * 1000)
    score = task.score(sample, [output, Completion("")])
    assert (score.values["accuracy_constrained"], score.answer) == (0.5, "missile")


def test_synthetic_shows_digits_and_keeps_train_and_test_apart() -> None:
    task = ImageNet()
    asked, shown = task.samples(), task.examples()
    assert {sample.target for sample in asked} == set(task.names)
    assert {sample.id for sample in asked}.isdisjoint(shot.id for shot in shown)
    assert asked[0].prompt.text() == "<image>The photo of the"


@pytest.mark.parametrize(
    ("truth", "text"),
    [
        (
            "LOC_val_solution.csv",
            f"ImageId,PredictionString\nILSVRC2012_val_00000002,{TENCH} 1 2 3 4 \n"
            f"ILSVRC2012_val_00000001,{SNAKE} 1 2 3 4 {SNAKE} 5 6 7 8 \n",
        ),
        ("val.txt", "ILSVRC2012_val_00000001.JPEG 65\nILSVRC2012_val_00000002.JPEG 0\n"),
        ("imagenet_2012_validation_synset_labels.txt", f"{SNAKE}\n{TENCH}\n{MISSILE}\n"),
    ],
)
def test_flat_images_join_their_ground_truth(tmp_path: Path, truth: str, text: str) -> None:
    first, second = at(flat(tmp_path, truth, text)).samples()
    assert (first.id, first.target) == ("val/ILSVRC2012_val_00000001", "sea snake")
    assert (second.id, second.target) == ("val/ILSVRC2012_val_00000002", "tench")


def test_the_development_kits_numbers_go_through_its_own_table(tmp_path: Path) -> None:
    root = flat(tmp_path, "ILSVRC2012_validation_ground_truth.txt", "490\n1\n")
    others = [wnid for wnid in classes() if wnid not in (SNAKE, TENCH)]
    kit(root, [TENCH, *others[:488], SNAKE, *others[488:], "n00001740"])
    assert [sample.target for sample in at(root).samples()] == ["sea snake", "tench"]


def test_the_development_kits_numbers_are_refused_without_its_table(tmp_path: Path) -> None:
    root = flat(tmp_path, "ILSVRC2012_validation_ground_truth.txt", "490\n361\n")
    with pytest.raises(BadData, match=r"counts in an order of its own; add the development kit's .*meta\.mat"):
        at(root).samples()
    (root / "imagenet" / "meta.mat").write_bytes(b"nothing" * 50)
    with pytest.raises(BadData, match=r"meta\.mat cannot be read"):
        at(root).samples()
    kit(root, [TENCH, SNAKE])
    with pytest.raises(BadData, match=r"meta\.mat names 2 of the 1000 classes"):
        at(root).samples()


def test_flat_images_without_ground_truth_or_with_a_short_one_are_refused(tmp_path: Path) -> None:
    root = flat(tmp_path, "val.txt", "ILSVRC2012_val_00000001.JPEG 65\n")
    with pytest.raises(BadData, match=r"val\.txt does not say what ILSVRC2012_val_00000002\.JPEG shows"):
        at(root).samples()
    (root / "imagenet" / "val.txt").write_text("ILSVRC2012_val_00000001.JPEG 1000\n")
    with pytest.raises(BadData, match=r"line 1 of .*val\.txt says '1000', which names no class"):
        at(root).samples()
    (root / "imagenet" / "val.txt").unlink()
    with pytest.raises(BadData, match=r"has no ground truth for its images; add one of LOC_val_solution\.csv"):
        at(root).samples()


def test_a_folder_of_another_class_or_of_nothing_is_refused(tmp_path: Path) -> None:
    root = folders(tmp_path / "other", wnids=("n99999999",))
    with pytest.raises(BadData, match=r"n99999999 is of none of the 1,000 classes"):
        at(root).samples()
    (tmp_path / "bare" / "imagenet" / "val" / TENCH).mkdir(parents=True)
    with pytest.raises(BadData, match="hold no images"):
        at(tmp_path / "bare").samples()
    (tmp_path / "none" / "imagenet" / "val" / "dogs").mkdir(parents=True)
    with pytest.raises(BadData, match="has neither folders named by wnid"):
        at(tmp_path / "none").samples()
    (tmp_path / "empty" / "imagenet").mkdir(parents=True)
    with pytest.raises(BadData, match="is an empty folder"):
        at(tmp_path / "empty").samples()


def test_what_macos_hides_beside_the_images_is_not_asked_about(tmp_path: Path) -> None:
    root = folders(tmp_path)
    (root / "imagenet" / "val" / TENCH / "._ILSVRC2012_val_1.JPEG").write_bytes(b"Mac OS X")
    (root / "imagenet" / "val" / ".DS_Store").write_bytes(b"")
    assert len(at(root).samples()) == 2


def test_kaggles_archive_is_read_as_it_unpacks(tmp_path: Path) -> None:
    root = tmp_path / "imagenet"
    picture(root / "ILSVRC" / "Data" / "CLS-LOC" / "val" / "ILSVRC2012_val_00000001.JPEG")
    picture(root / "ILSVRC" / "Data" / "CLS-LOC" / "train" / TENCH / "n01440764_1.JPEG")
    (root / "LOC_val_solution.csv").write_text(f"ImageId,PredictionString\nILSVRC2012_val_00000001,{SNAKE} 1 2 3 4 \n")
    task = at(tmp_path)
    assert [sample.target for sample in task.samples()] == [classes()[SNAKE]]
    assert [shot.id for shot in task.examples()] == [f"train/{TENCH}/n01440764_1"]


def test_the_archive_of_the_validation_set_may_keep_its_name(tmp_path: Path) -> None:
    folder = (
        flat(tmp_path, "val.txt", "ILSVRC2012_val_00000001.JPEG 0\r\nILSVRC2012_val_00000002.JPEG 65\r\n") / "imagenet"
    )
    (folder / "val").rename(folder / "ILSVRC2012_img_val")
    second = max((folder / "ILSVRC2012_img_val").iterdir())
    second.rename(second.with_suffix(".jpeg"))
    assert [sample.target for sample in at(tmp_path).samples()] == [classes()[TENCH], classes()[SNAKE]]


def test_images_that_are_not_unpacked_are_named(tmp_path: Path) -> None:
    (tmp_path / "imagenet" / "val").mkdir(parents=True)
    (tmp_path / "imagenet" / "val" / "ILSVRC2012_img_val.tar").touch()
    with pytest.raises(BadData, match=r"nor images .*JPEG \(is ILSVRC2012_img_val\.tar unpacked\?\)"):
        at(tmp_path).samples()


def test_training_classes_that_are_not_unpacked_are_not_shown(tmp_path: Path) -> None:
    (folders(tmp_path) / "imagenet" / "train").mkdir()
    (tmp_path / "imagenet" / "train" / f"{TENCH}.tar").touch()
    assert [shot.id for shot in at(tmp_path).examples()] == [sample.id for sample in at(tmp_path).samples()]
    folders(tmp_path, "train")
    assert at(tmp_path).examples()[0].id == f"train/{TENCH}/ILSVRC2012_train_1"


def test_splits_are_what_is_there(tmp_path: Path) -> None:
    root = folders(tmp_path)
    assert [shot.id for shot in at(root).examples()] == [sample.id for sample in at(root).samples()]
    with pytest.raises(UnknownName, match="no split of imagenet is called 'test'; there are: val"):
        at(root, "test").samples()
    assert at(folders(root, "train"), "train").samples()[0].id == f"train/{TENCH}/ILSVRC2012_train_1"


def test_answers_made_elsewhere_are_one_name_a_line(tmp_path: Path) -> None:
    task = at(folders(tmp_path))
    file = tmp_path / "answers.txt"
    file.write_text("tench\na snake in the sea\n")
    answers = task.read_answers(file)
    marks = [task.score_answer(sample, answers[sample.id]).values for sample in task.samples()]
    assert marks == [{"accuracy_unconstrained": 1.0}, {"accuracy_unconstrained": 0.0}]


def test_the_hub_is_read_in_its_own_columns(mirrored: Callable[..., Source]) -> None:
    encoded = Image.drawn(PIL.Image.new("RGB", (8, 8), "white")).encoded()
    row = {"image": {"bytes": encoded, "path": "a.png"}, "label": 65}
    task = ImageNet(mirrored("ILSVRC/imagenet-1k", {"validation": [row]}))
    (sample,) = task.samples()
    assert (sample.id, sample.target) == ("validation/0", "sea snake")
    assert sample.prompt.images[0].encoded() == encoded


def test_real_photographs_join_their_names_by_wnid(real_data: Path) -> None:
    samples = {sample.prompt.images[0].name: sample for sample in at(real_data).samples()}
    assert len(samples) == 84
    targets = {Path(name).stem: sample.target for name, sample in samples.items()}
    # CLIP's names differ from those of the files where these are ambiguous.
    assert targets["n02965783_car_mirror"] == "car mirror"
    assert targets["n02110627_affenpinscher"] == "Affenpinscher"
    assert targets["n03710637_maillot"] == "tights"
    assert targets["n04350905_suit"] == "suit"
    alike = sum(stem.partition("_")[2].replace("_", " ").lower() == name.lower() for stem, name in targets.items())
    assert alike > 42
    for sample in samples.values():
        assert sample.prompt.images[0].pixels(draft=32).mode == "RGB"
