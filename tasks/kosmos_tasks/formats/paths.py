"""Places of official files, as archives unpack: in folders of their own name, nested once more, beside others."""

from os import scandir
from pathlib import Path

from kosmos_eval.source import IMAGE_ENDINGS


def file_of(folder: Path, *patterns: str) -> Path:
    """Return the first file of the first pattern that any file matches; else the one that the first pattern names."""
    matches = (file for pattern in patterns for file in sorted(folder.glob(pattern)) if file.is_file())
    return next(matches, folder / patterns[0])


def images_of(*places: Path) -> Path:
    """Return the first of these folders that holds images, itself or in one of its own name in it; else the first."""
    nested = (inner for place in places for inner in (place, place / place.name))
    return next((place for place in nested if has_images(place)), places[0])


def has_images(folder: Path) -> bool:
    """Return whether a folder holds an image itself; a large one is not listed to its end."""
    if not folder.is_dir():
        return False
    with scandir(folder) as entries:
        return any(entry.name.lower().endswith(IMAGE_ENDINGS) and not entry.name.startswith(".") for entry in entries)
