import io
import os
import struct
import zlib

import PIL.Image
import pytest

from kosmos_eval import Image, Prompt
from kosmos_eval.errors import BadImage


def png(size=(2, 3), mode="RGB", colour="red"):
    buffer = io.BytesIO()
    PIL.Image.new(mode, size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_neighbouring_texts_merge_and_empty_ones_vanish():
    assert Prompt("What is ", "", "this?") == Prompt("What is this?")
    assert Prompt("a", Image("x.png"), "", "b").parts == ("a", Image("x.png"), "b")


def test_few_shot_is_a_join():
    asked = Prompt(Image("q.png"), " Q:")
    shown = Prompt(Image("d.png"), " Q: yes")
    assert Prompt.join([shown, asked], separator="\n") == Prompt(Image("d.png"), " Q: yes\n", Image("q.png"), " Q:")


def test_a_prompt_may_hold_another():
    assert Prompt(Prompt("a", Image("x")), "b") == Prompt("a", Image("x"), "b")


def test_the_digest_follows_the_content_of_an_image_not_its_path(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(colour="red"))
    before = Prompt(Image(path), "?").digest
    assert before == Prompt(Image(png(colour="red")), "?").digest
    path.write_bytes(png(size=(4, 4), colour="blue"))
    assert Prompt(Image(path), "?").digest != before


def test_the_digest_knows_where_the_image_stands():
    image = Image(png())
    assert Prompt(image, "a").digest != Prompt("a", image).digest
    assert Prompt("ab").digest != Prompt("a", image, "b").digest


def test_transparency_is_laid_on_white():
    assert Image(png(mode="RGBA", colour=(0, 0, 0, 0))).pixels().getpixel((0, 0)) == (255, 255, 255)


def test_a_transparent_palette_is_laid_on_white():
    buffer = io.BytesIO()
    palette = PIL.Image.new("P", (1, 1), 0)
    palette.putpalette([10, 20, 30])
    palette.save(buffer, "PNG", transparency=0)
    assert Image(buffer.getvalue()).pixels().getpixel((0, 0)) == (255, 255, 255)


def test_greyscale_becomes_rgb():
    assert Image(png(mode="L", colour=7)).pixels().getpixel((0, 0)) == (7, 7, 7)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_photograph_that_its_exif_turns_is_seen_upright_and_so_is_its_size(kind):
    sideways, exif, buffer = PIL.Image.new("RGB", (64, 32), "black"), PIL.Image.Exif(), io.BytesIO()
    sideways.paste("white", (0, 0, 32, 32))
    exif[0x0112] = 6  # the camera was held so that the picture's top is on the left
    sideways.save(buffer, kind, exif=exif)
    image = Image(buffer.getvalue())
    assert image.size == image.pixels().size == (32, 64)
    assert image.pixels().getpixel((16, 4))[0] > 250
    assert image.pixels().getpixel((16, 60))[0] < 5


def test_an_exif_that_cannot_be_read_turns_nothing():
    plain = io.BytesIO()
    PIL.Image.new("RGB", (8, 4)).save(plain, "JPEG")
    start, rest = plain.getvalue()[:2], plain.getvalue()[2:]
    broken = start + b"\xff\xe1" + struct.pack(">H", 16) + b"Exif\0\0no tiff!" + rest
    assert Image(broken).size == Image(broken).pixels().size == (8, 4)


def test_sixteen_bits_a_pixel_become_eight_and_not_white():
    buffer = io.BytesIO()
    PIL.Image.new("I;16", (1, 1), 128 * 257).save(buffer, "PNG")
    assert Image(buffer.getvalue()).pixels().getpixel((0, 0)) == (128, 128, 128)


def test_a_truncated_jpeg_is_a_bad_image():
    buffer = io.BytesIO()
    PIL.Image.effect_noise((64, 64), 90).save(buffer, "JPEG")
    image = Image(buffer.getvalue()[:-200])
    for draft in (None, 16):
        with pytest.raises(BadImage, match="cannot be decoded"):
            image.pixels(draft=draft)


def test_a_missing_file_is_a_bad_image_with_its_name():
    with pytest.raises(BadImage, match=r"cannot read image nowhere\.png"):
        Image("nowhere.png").pixels()
    with pytest.raises(BadImage, match=r"nowhere\.png"):
        _ = Prompt(Image("nowhere.png")).digest


def test_a_huge_image_is_refused_without_decoding_it():
    whole = bytearray(png())
    header = whole.index(b"IHDR")
    whole[header + 4 : header + 12] = struct.pack(">II", 60_000, 60_000)
    whole[header + 17 : header + 21] = struct.pack(">I", zlib.crc32(whole[header : header + 17]))
    with pytest.raises(BadImage, match="too large"):
        Image(bytes(whole)).pixels()


def test_text_is_no_image():
    with pytest.raises(BadImage, match="cannot be decoded: it is of no format that Pillow knows"):
        Image(b"<svg>").pixels()


@pytest.mark.parametrize("name", ["../out.png", "{out}", "link.png", "inner/../../out.png", "way/out.png"])
def test_an_image_outside_its_folders_is_not_read(tmp_path, name):
    root, out = tmp_path / "root", tmp_path / "out.png"
    (root / "inner").mkdir(parents=True)
    out.write_bytes(png())
    (root / "link.png").symlink_to(out)
    (root / "way").symlink_to(tmp_path)
    path = root / name.format(out=out)
    prompt = Prompt(Image(path), "?").within((str(root),))
    for read in (lambda image: image.digest, Image.encoded, Image.pixels, lambda image: image.size):
        with pytest.raises(BadImage, match=r"lies outside .*root; expected a file in it, or --allow-outside"):
            read(prompt.images[0])
    assert Image(path).pixels().size == (2, 3) and prompt == Prompt(Image(path), "?")


def test_links_that_stay_inside_are_read(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.png").write_bytes(png())
    (tmp_path / "root" / "b.png").symlink_to("a.png")
    (tmp_path / "linked").symlink_to("root")
    folders = (str((tmp_path / "linked").resolve()),)
    assert Image(tmp_path / "linked" / "b.png", within=folders).size == (2, 3)


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero", tmp_path, "a\0b"):
        with pytest.raises(BadImage, match="cannot read image"):
            Image(path).pixels()


def test_a_file_beyond_the_most_bytes_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("kosmos_eval.prompt.MOST_BYTES", 10)
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(BadImage, match=r"a\.png has \d+ bytes; expected at most 10"):
        Image(tmp_path / "a.png").pixels()
