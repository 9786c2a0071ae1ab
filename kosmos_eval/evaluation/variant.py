"""How a task is asked otherwise than usual, as text: empty, or such as ``images=blank,prompt=short,seed=3``."""

PARTS = ("images", "prompt", "prompts", "seed", "seeds")
"""What may differ, in this order; ``prompts`` and ``seeds`` say over how many a row is the mean."""


def joined(**parts: str | int | None) -> str:
    """The text of the parts that are given, in canonical order.

    >>> joined(seed=3, images="blank", prompt=None)
    'images=blank,seed=3'
    """
    return ",".join(f"{name}={parts[name]}" for name in PARTS if parts.get(name) is not None)


def parted(variant: str) -> dict[str, str]:
    """The parts of a text that `joined` wrote.

    >>> parted("images=blank,seed=3")
    {'images': 'blank', 'seed': '3'}
    """
    pairs = (part.partition("=") for part in variant.split(",") if part)
    return {name: value for name, _, value in pairs}
