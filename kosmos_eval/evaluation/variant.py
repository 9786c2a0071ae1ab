"""A setting: a task at a number of demonstrations, asked in one variant; and the variants that a run asks for."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from kosmos_eval.errors import KosmosEvalError

Images = Literal["real", "blank", "shuffled", "none"]
"""Images shown in the places of a prompt's images (`kosmos_eval.evaluation.ablation`)."""

AVERAGED_OVER: tuple[Literal["prompt", "seed"], ...] = ("prompt", "seed")
"""Parts of a variant over which rows are averaged."""

IMAGES: tuple[Images, ...] = ("real", "blank", "shuffled", "none")


@dataclass(frozen=True)
class Variant:
    """Prompt and images of a setting, as far as they are not the task's default.

    >>> str(Variant(images="blank", seed=3))
    'images=blank,seed=3'
    >>> Variant.parse("images=blank,seed=3")
    Variant(images='blank', demonstrations='given', prompt=None, seed=3, prompts=None, seeds=None)
    >>> str(Variant()), Variant.parse("") == Variant()
    ('', True)

    Args:
        images: images shown in the places of a prompt's images.
        demonstrations: the form of the demonstrations; ``given`` is as the task gives them.
        prompt: one of the task's prompt variants; None for its default.
        seed: of the draw of demonstrations; None for the run's own.
        prompts: of a row that is a mean, over how many prompts.
        seeds: of a row that is a mean, over how many draws of demonstrations.
    """

    images: Images = "real"
    demonstrations: str = "given"
    prompt: str | None = None
    seed: int | None = None
    prompts: int | None = None
    seeds: int | None = None

    def __str__(self) -> str:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return ",".join(f"{name}={value}" for name, value in given.items() if value != getattr(DEFAULT, name))

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Read a variant from its text.

        Raises:
            ValueError: if it is the text of no variant.
        """
        pairs = dict(part.split("=", 1) for part in text.split(",") if part)
        numbers = {name: int(value) for name, value in pairs.items() if name in ("seed", "prompts", "seeds")}
        images = next((name for name in IMAGES if name == pairs.get("images", "real")), None)
        if images is None or not pairs.keys() <= {field.name for field in fields(cls)}:
            raise ValueError(f"{text!r} is no variant")
        rest = {name: value for name, value in pairs.items() if name in ("demonstrations", "prompt")}
        return cls(images=images, **rest, **numbers)  # type: ignore[arg-type]

    def without(self, part: Literal["prompt", "seed"]) -> Variant:
        """Return the variant without its prompt or its seed."""
        return replace(self, prompt=None) if part == "prompt" else replace(self, seed=None)

    def mean_over(self, part: Literal["prompt", "seed"], count: int) -> Variant:
        """Return the variant of a row that is the mean over so many prompts, or draws of demonstrations."""
        return replace(self, prompts=count) if part == "prompt" else replace(self, seeds=count)


DEFAULT = Variant()
"""The task's own prompt, with its own images."""


@dataclass(frozen=True)
class SettingKey:
    """The name of a setting.

    Args:
        task: the task's name.
        shots: demonstrations asked for.
        variant: how the task is asked otherwise than by default.
    """

    task: str
    shots: int = 0
    variant: Variant = DEFAULT

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.task, f"{self.shots} shots", str(self.variant))))

    @property
    def file_prefix(self) -> str:
        """The beginning of the names of a setting's files."""
        variant = str(self.variant).replace("=", "-").replace(",", "-")
        return "-".join(filter(None, (self.task, f"{self.shots}-shot", variant)))


@dataclass(frozen=True)
class Variants:
    """The variants in which a run asks every task, beside the default one.

    Args:
        images: images shown in the places of a prompt's images.
        with_blind: ask every task that has images with blank ones too.
        prompts: names of prompt variants, or ``all``; none for each task's own choice.
        seeds: how many times demonstrations are drawn, with the run's seed and those after it; a task without
            demonstrations is asked once.

    Raises:
        KosmosEvalError: if the values contradict each other.
    """

    images: Images = "real"
    with_blind: bool = False
    prompts: tuple[str, ...] = ()
    seeds: int = 1

    def __post_init__(self) -> None:
        if self.with_blind and self.images != "real":
            raise KosmosEvalError(f"--with-blind asks with the real images too; leave out --images {self.images}")
        if "all" in self.prompts and len(self.prompts) > 1:
            others = ", ".join(name for name in self.prompts if name != "all")
            raise KosmosEvalError(f"--prompts all asks every prompt already; leave out {others}, or all")
