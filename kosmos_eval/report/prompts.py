"""A prompt as a person sees it: on a terminal with its images as coloured half blocks, or as a page of HTML."""

import base64
import html
import io
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.segment import Segment, Segments
from rich.style import Style
from rich.text import Text

from kosmos_eval.prompt import Image, Prompt
from kosmos_eval.request import Generate, Request

COLUMNS = 32


def on_console(prompt: Prompt, console: Console) -> RenderableType:
    """The prompt with its images in place; in a pipe, an image is one line with its size and name."""
    return Group(*(_part(part, console) for part in prompt.parts))


def _part(part: str | Image, console: Console) -> RenderableType:
    if isinstance(part, str):
        return Text(part)
    pixels = part.pixels()
    if not console.is_terminal:
        return Text(f"<image {pixels.width} x {pixels.height}: {part.name}>")
    return _half_blocks(part)


def _half_blocks(image: Image) -> Segments:
    """Two pixels a character: the upper half in the foreground colour, the lower in the background."""
    pixels = image.pixels()
    rows = max(2, round(COLUMNS * pixels.height / pixels.width) // 2 * 2)
    small = pixels.resize((COLUMNS, rows))

    def rgb(x: int, y: int) -> str:
        red, green, blue = small.getpixel((x, y))  # type: ignore[misc]
        return f"rgb({red},{green},{blue})"

    drawn: list[Segment] = []
    for y in range(0, rows, 2):
        drawn += [Segment("▀", Style.parse(f"{rgb(x, y)} on {rgb(x, y + 1)}")) for x in range(COLUMNS)]
        drawn.append(Segment.line())
    return Segments(drawn)


def as_html(prompt: Prompt, *, side: int = 224) -> str:
    """The prompt as HTML: text escaped, each image a thumbnail of at most ``side`` pixels inside the page."""
    return "".join(
        f"<span>{html.escape(part)}</span>" if isinstance(part, str) else _img(part, side) for part in prompt.parts
    )


def _img(image: Image, side: int) -> str:
    return f'<img alt="{html.escape(image.name, quote=True)}" src="{data_url(image, side, "PNG")}">'


def data_url(image: Image, side: int, form: Literal["PNG", "WEBP"]) -> str:
    """A thumbnail of at most ``side`` pixels, as a URL that holds it.

    Raises:
        BadImage: if the image cannot be decoded.
    """
    pixels = image.pixels(draft=side)
    pixels.thumbnail((side, side))
    buffer = io.BytesIO()
    pixels.save(buffer, form, quality=70, method=2)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def asked_for(request: Request) -> str:
    """Return the kind of answer that is asked for, in a line."""
    if isinstance(request, Generate):
        early = "" if request.early_stopping else " without early stopping"
        decoding = "greedy" if request.beams == 1 else f"beam {request.beams}{early}"
        among = f", one of {len(request.choices)} choices" if request.choices else ""
        return f"→ generate: {decoding}, at most {request.max_tokens} tokens{among}"
    among = ", ".join(repr(text) for text in request.continuations[:8])
    return f"→ log-likelihood of {among}" + (", …" if len(request.continuations) > 8 else "")


def page(title: str, body: str) -> str:
    """A self-contained page that keeps line breaks and reads in light and dark."""
    style = (
        ":root{color-scheme:light dark}body{font:16px/1.6 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
        "padding:0 1rem}.prompt{white-space:pre-wrap;border:1px solid #8888;border-radius:8px;padding:1rem}"
        "img{vertical-align:middle;margin:2px 4px;border-radius:4px;outline:1px solid #8886}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; """
        """style-src 'unsafe-inline'">"""
        f"<title>{html.escape(title)}</title><style>{style}</style><h1>{html.escape(title)}</h1>{body}</html>\n"
    )
