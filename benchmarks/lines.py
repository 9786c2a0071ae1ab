"""Count the lines of code by package: no blanks, comments, docstrings, imports; ``make lines``.

``Any`` is counted without imports; the longest module with everything that it has.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (ROOT / "kosmos_eval", ROOT / "tasks" / "kosmos_tasks", ROOT / "model" / "kosmos_model")


def code_lines(text: str) -> int:
    """Return the number of lines that hold code.

    >>> code_lines('import os' + chr(10) + 'x = 1  # one' + chr(10) * 2 + '# two' + chr(10) + 'y = 2')
    2
    """
    tree = ast.parse(text)
    left_out: set[int] = set()
    for node in ast.walk(tree):
        value = node.value if isinstance(node, ast.Expr) else None
        if (isinstance(value, ast.Constant) and isinstance(value.value, str)) or isinstance(
            node, ast.Import | ast.ImportFrom
        ):
            left_out |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = [line.strip() for number, line in enumerate(text.splitlines(), start=1) if number not in left_out]
    return sum(line != "" and not line.startswith("#") for line in lines)


def anys(text: str) -> int:
    """Return how often ``Any`` stands in annotations and calls."""
    return sum(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(ast.parse(text)))


def main() -> None:
    total = [0, 0, 0]
    for package in PACKAGES:
        texts = {path: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
        longest = max(texts, key=lambda path: texts[path].count("\n"))
        counts = [len(texts), sum(map(code_lines, texts.values())), sum(map(anys, texts.values()))]
        total = [one + other for one, other in zip(total, counts, strict=True)]
        where = f"{longest.relative_to(package)}, {texts[longest].count(chr(10))} lines"
        print(f"{package.name}: {counts[0]} modules, {counts[1]:,} lines of code, {counts[2]} Any; longest: {where}")
    print(f"all: {total[0]} modules, {total[1]:,} lines of code, {total[2]} Any")


if __name__ == "__main__":
    main()
