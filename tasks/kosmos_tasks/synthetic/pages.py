"""Small web pages of a shop, drawn, with questions about them: the synthetic split of WebSRC.

A page has a title and four properties. What is asked is one of their values, or whether a property has a value, which
is as often so as not. No page is on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from kosmos_eval.source import Row
from kosmos_tasks.synthetic.opinions import font, words
from kosmos_tasks.synthetic.recipe import Split, cell, digest, stream

if TYPE_CHECKING:
    from PIL import Image

SIDE = 128
NAMES = words("Alba Bruno Cora Dune Elba Fjord Gala Hugo Iris Juno Kiru Luna Mira Nova Oslo Pico Rosa Sol Tara Uma")
THINGS = words("Lamp Chair Desk Clock Mirror Shelf Sofa Kettle Teapot Basket Blanket Pillow")
VALUES = {
    "color": words("red blue green yellow black white grey brown"),
    "material": words("oak pine steel glass wool cotton paper clay"),
    "weight": [f"{number} kg" for number in range(1, 10)],
    "price": [f"${number}" for number in range(12, 99, 6)],
    "height": [f"{number} cm" for number in range(15, 95, 10)],
    "maker": words("Nord Atlas Varga Linde Orsa Bellini"),
}
GROUNDS = ("#2f4858", "#33658a", "#7a4069", "#3e6259", "#884a39")


@dataclass(frozen=True)
class Page:
    """A product and four of its properties."""

    title: str
    properties: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """The text of the page, in reading order."""
        return " ".join([self.title, *(f"{name} {value}" for name, value in self.properties)])


def page(rng: Random) -> Page:
    """Draw a page."""
    names = rng.sample(sorted(VALUES), 4)
    return Page(f"{rng.choice(NAMES)} {rng.choice(THINGS)}", tuple((name, rng.choice(VALUES[name])) for name in names))


def questions(shown: Page, rng: Random) -> Iterator[tuple[str, str]]:
    """Yield two questions for values, one for yes or no, each with its answer."""
    first, second, third = rng.sample(shown.properties, 3)
    for name, value in (first, second):
        yield f"What is the {name} of the {shown.title}?", value
    name, value = third
    right = rng.random() < 0.5
    claimed = value if right else rng.choice([other for other in VALUES[name] if other != value])
    yield f"Is the {name} of the {shown.title} {claimed}?", "yes" if right else "no"


def render(shown: Page) -> Image.Image:
    """Return the page as a browser might show it: a header, then a table."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (SIDE, SIDE), "white")
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, SIDE, 29), fill=GROUNDS[int(digest(shown.title), 16) % len(GROUNDS)])
    pen.text((6, 7), shown.title, fill="white", font=font(13))
    for place, (name, value) in enumerate(shown.properties):
        top = 35 + 23 * place
        pen.text((6, top), name, fill="#555555", font=font(13))
        pen.text((70, top), value, fill="black", font=font(13))
        pen.line((4, top + 20, SIDE - 4, top + 20), fill="#dddddd")
    return image


def pages(split: Split, seed: int = 0) -> Iterator[tuple[str, Page]]:
    """Yield all different pages of one side, as (id, page)."""
    return stream("pages", split, seed, draw=page, content=lambda item: item)


def rows(split: Split) -> Iterator[Row]:
    """Yield endless questions about pages: ``id, image, question, answer, page, text``."""
    for identity, shown in pages(split):
        picture = cell(render(shown))
        for number, (question, answer) in enumerate(questions(shown, Random(f"pages/{identity}"))):
            said = {"question": question, "answer": answer, "page": identity, "text": shown.text}
            yield {"id": f"{identity}/{number}", "image": picture, **said}
