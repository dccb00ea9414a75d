import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
# a module may import those on lower lines only
LAYERS = [
    [
        "errors",
        "_version",
        "dataset",
        "checks",
        "quadrature",
        "agreement",
        "kernels",
        "activations",
        "sweep",
        "interruption",
    ],
    ["meanfield", "scaling", "files", "schedule"],
    [
        "optim",
        "order",
        "network",
        "idx",
        "replicas",
        "phase_diagram",
        "dynamics",
        "asymptotics",
        "cost",
        "own_data",
    ],
    ["data", "rivals", "weights", "measured"],
    ["hold"],
    ["held"],
    ["checkpoints", "training", "analysis", "courses", "fits", "plotting"],
    ["phase_plots"],
    ["config", "report", "monitor", "one_run"],
    ["guideline", "runs", "record"],
    ["distributed", "parts"],
    ["batch"],
    ["loop"],
    ["__init__"],
]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_point_one_way():
    height = {name: level for level, names in enumerate(LAYERS) for name in names}
    modules = {path.stem: path for path in (ROOT / "edgechaos").glob("*.py")}
    assert modules.keys() == height.keys()
    for name, path in modules.items():
        for target in imported(path):
            package, _, module = target.partition(".")
            assert package not in {"experiments", "configs", "tests", "benchmarks"}, (name, target)
            lower = module.split(".")[0]
            if package == "edgechaos" and lower in height:
                assert height[lower] < height[name], f"{name} imports {lower}"


def test_side_effects_stay_in_their_modules():
    for path in (ROOT / "edgechaos").glob("*.py"):
        targets = set(imported(path))
        roots = {target.split(".")[0] for target in targets}
        assert not roots & {"absl", "pickle", "dill", "ml_collections"}, path.name
        if path.stem not in ("plotting", "phase_plots"):
            assert "matplotlib" not in roots, path.name
