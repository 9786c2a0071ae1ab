"""Text in CSV files that programs for tables may open: none of it can become a formula."""

FORMULA = ("=", "+", "-", "@")
"""What formulas begin with, after blanks of any kind."""


def inert(text: str) -> str:
    """The text as a CSV file has it: with an apostrophe before what could be a formula, or be taken for such a mark.

    >>> inert("=1+1"), inert("'quoted'"), inert("plain")
    ("'=1+1", "''quoted'", 'plain')
    """
    return f"'{text}" if text.startswith("'") or text.strip().startswith(FORMULA) else text


def restored(cell: str) -> str:
    """The text that `inert` was given.

    >>> restored("'=1+1"), restored("''quoted'"), restored("'quoted'")
    ('=1+1', "'quoted'", "'quoted'")
    """
    return cell[1:] if cell.startswith("'") and inert(cell[1:]) == cell else cell
