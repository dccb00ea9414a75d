"""Who may import whom: rooms stand on floors, and side effects stay in their rooms."""

import ast
import subprocess
import sys
from pathlib import Path

from tests.processes import ROOT

LIBRARY = ROOT / "edgechaos"
# a room may import itself and those on lower floors
FLOORS = [
    ["_version", "errors"],
    ["files"],
    ["data", "theory"],
    ["dynamics", "training"],
    ["analysis", "plotting"],
    ["diagnosis", "runs"],
    ["__init__"],
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
PATHS = sorted(LIBRARY.rglob("*.py"))


def room_of(path: Path) -> str:
    """The folder of a module, or the module if it stands in none."""
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Everything that a module imports, also within its functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_module_has_a_room():
    assert {room_of(path) for path in PATHS} == FLOOR.keys()


def test_rooms_import_downwards():
    for path in PATHS:
        for package, _, name in (target.partition(".") for target in imported(path)):
            assert package not in {"experiments", "configs", "tests", "benchmarks"}, (path, package)
            other = name.partition(".")[0]
            if package == "edgechaos" and other != room_of(path):
                assert FLOOR[other] < FLOOR[room_of(path)], f"{path.relative_to(ROOT)} imports {other}"


def test_modules_of_a_room_import_each_other_one_way():
    """Without cycles; the room's own `__init__` gathers the names."""
    edges = {}
    for path in PATHS:
        parts = path.relative_to(LIBRARY).with_suffix("").parts
        if len(parts) == 2 and parts[1] != "__init__":
            room = f"edgechaos.{parts[0]}."
            edges[parts] = {
                (parts[0], t.removeprefix(room).split(".")[0]) for t in imported(path) if t.startswith(room)
            }
    while edges:
        leaves = {module for module, needs in edges.items() if not needs & edges.keys()}
        assert leaves, f"a cycle among {sorted(edges)}"
        edges = {module: needs for module, needs in edges.items() if module not in leaves}


def test_side_effects_stay_in_their_rooms():
    for path in PATHS:
        roots = {target.split(".")[0] for target in imported(path)}
        assert not roots & {"absl", "pickle", "dill", "ml_collections"}, path
        assert "matplotlib" not in roots or room_of(path) == "plotting", path
        if room_of(path) in ("theory", "dynamics", "training", "analysis"):
            assert not roots & {"os", "pathlib", "shutil", "subprocess", "tqdm", "orbax"}, path
            assert "edgechaos.files" not in {target.rpartition(".")[0] for target in imported(path)}, path


def test_no_public_name_hides_a_module():
    import edgechaos

    modules = {path.stem for path in PATHS} | set(FLOOR)
    assert not modules & set(edgechaos.__all__)


def test_importing_the_library_loads_nothing_heavy():
    heavy = ("matplotlib", "tensorflow_datasets", "orbax", "tqdm", "sklearn", "ml_collections", "absl.app")
    code = f"import sys, edgechaos; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
