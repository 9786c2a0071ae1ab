import PIL.Image
import pytest
import torch

from kosmos_eval.errors import BadImage, UnknownName
from kosmos_eval.prompt import Image
from kosmos_model.modeling.image import MEAN, STD, Square, to_tensor


def levels(tensor):
    return (tensor * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)) * 255


def halves(width, height):
    picture = PIL.Image.new("RGB", (width, height), "red")
    picture.paste("blue", (width // 2, 0, width, height))
    return picture


def test_a_plain_picture_is_its_colour_normalised():
    tensor = to_tensor(PIL.Image.new("RGB", (10, 7), (255, 0, 51)), 4)
    assert tensor.shape == (3, 4, 4)
    assert tensor.dtype == torch.float32
    expected = [(1.0 - MEAN[0]) / STD[0], -MEAN[1] / STD[1], (0.2 - MEAN[2]) / STD[2]]
    torch.testing.assert_close(tensor[:, 2, 1], torch.tensor(expected))


def test_a_picture_of_the_right_size_keeps_its_pixels_in_place():
    picture = PIL.Image.new("RGB", (3, 3))
    picture.putpixel((2, 0), (10, 20, 30))  # right, top
    torch.testing.assert_close(levels(to_tensor(picture, 3))[:, 0, 2], torch.tensor([10.0, 20.0, 30.0]))
    torch.testing.assert_close(levels(to_tensor(picture, 3)).sum(), torch.tensor(60.0))


def test_squashing_keeps_both_ends_and_cropping_only_the_middle():
    wide = PIL.Image.new("RGB", (90, 30), "white")
    wide.paste("black", (0, 0, 30, 30))
    assert levels(to_tensor(wide, 30))[0, 15, 2] < 1
    assert levels(to_tensor(wide, 30, fit="crop")).min() > 254


@pytest.mark.parametrize("size", [(97, 31), (31, 97), (31, 31), (1, 200)])
@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_every_shape_of_picture_becomes_the_square(size, fit):
    assert to_tensor(PIL.Image.new("RGB", size), 24, fit=fit).shape == (3, 24, 24)


def test_cropping_agrees_with_the_image_processor_of_clip():
    from transformers import CLIPImageProcessor

    processor = CLIPImageProcessor(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24})
    expected = processor(halves(90, 48), return_tensors="pt")["pixel_values"][0]
    difference = (to_tensor(halves(90, 48), 24, fit="crop") - expected).abs().max()
    assert difference < 0.03  # two rounding levels of 256


def test_a_picture_to_crop_is_scaled_to_the_pixel(monkeypatch):
    sizes = []
    resize = PIL.Image.Image.resize
    monkeypatch.setattr(
        PIL.Image.Image, "resize", lambda picture, size, *how: sizes.append(size) or resize(picture, size, *how)
    )
    to_tensor(PIL.Image.new("RGB", (205, 41)), 24, fit="crop")
    assert sizes == [(120, 24)]  # 205 * (24 / 41) is 119.999... in floating point


def test_a_square_prepares_images_and_says_how():
    square = Square(4, "crop")
    picture = PIL.Image.new("RGB", (9, 5), "red")
    assert torch.equal(square(Image.drawn(picture)), to_tensor(picture, 4, fit="crop"))
    assert repr(square) == "Square(side=4, fit='crop')"


def test_an_unknown_fit_is_refused():
    with pytest.raises(UnknownName, match="no fit is called 'squish'; did you mean 'squash'"):
        to_tensor(halves(4, 4), 2, fit="squish")


def test_black_and_white_are_as_far_apart_as_levels_go():
    square = Square(2)
    black, white = (square(Image.drawn(PIL.Image.new("RGB", (5, 5), colour))) for colour in ("black", "white"))
    assert black.shape == white.shape == (3, 2, 2)
    assert levels(black).max() < 1
    assert levels(white).min() > 254


def test_an_image_that_cannot_be_decoded_fails_by_name():
    with pytest.raises(BadImage, match="cannot be decoded"):
        Square(2)(Image(b"not an image"))
