"""Names that are used but nowhere defined, which the linter cannot tell from the axes in jaxtyping's strings."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("edgechaos", "experiments", "configs", "benchmarks", "tests")


class WithoutAxes(ast.NodeTransformer):
    """Shapes of arrays in annotations become "..."."""

    def visit_Subscript(self, node):
        self.generic_visit(node)
        if isinstance(node.slice, ast.Tuple):
            is_text = [isinstance(one, ast.Constant) and isinstance(one.value, str) for one in node.slice.elts]
            node.slice.elts = [
                ast.Constant("...") if text else one for text, one in zip(is_text, node.slice.elts, strict=True)
            ]
        return node


def undefined_names(folder):
    """Lines of the linter, one for each undefined name in the files of a folder."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--quiet", "--select", "F821"]
    result = subprocess.run([*command, "--output-format", "concise", folder], capture_output=True, text=True)
    assert result.returncode in (0, 1), result.stderr
    return result.stdout.splitlines()


def test_every_name_is_defined(tmp_path):
    for path in (path for name in FOLDERS for path in (ROOT / name).rglob("*.py")):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(ast.unparse(WithoutAxes().visit(ast.parse(path.read_text()))))
    assert undefined_names(tmp_path) == []
    (tmp_path / "edgechaos" / "planted.py").write_text("def f(x: Float[Array, '...']) -> int:\n    return nowhere(x)\n")
    found = undefined_names(tmp_path)
    assert [line.rpartition("`")[0].rpartition("`")[2] for line in found] == ["Float", "Array", "nowhere"]
