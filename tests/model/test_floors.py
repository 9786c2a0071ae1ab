"""A folder of the model imports only what stands on a lower floor, also inside functions."""

import ast
from pathlib import Path

import pytest

import kosmos_model

ROOT = Path(kosmos_model.__file__).parent
FLOORS = ({"modeling"}, {"engine", "data"}, {"adapters", "cleaning"}, {"training"}, {"commands"})
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def room(name):
    return name.split(".")[1] if name.startswith("kosmos_model.") else None


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_lead_down(path):
    here = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for there in filter(None, map(room, names)):
            assert there == here or FLOOR[there] < FLOOR[here], f"{path} imports {there}"
            assert there == here or there != "cleaning", "cleaning is an optional package"
