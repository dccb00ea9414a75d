"""Mutants: one small fault at a time is put into a module, and the tests of that module should notice each.

python -m tests.mutants [--module=edgechaos/theory/replicas.py] [--most=20] [--again]   goes on where it stopped
python -m tests.mutants --report [--record]                                             what was found so far

`make mutants` starts it in an environment that has cosmic-ray. Faults are put into a copy below build/mutants, a folder
for each module, which also keeps what was found; a module that has changed since begins anew. Mutants are tried in
random order, so that the share that was killed is a fair estimate at any time.
"""

import argparse
import ast
import datetime
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FOLDER, RECORD = ROOT / "build" / "mutants", ROOT / "results" / "mutants.json"
_LONGEST = 1800  # seconds, after which a mutant that the tests do not end with counts as noticed

_THEORY = ("tests/theory/test_meanfield.py", "tests/theory/test_theory.py")
_HOLD = ("law", "selection")
_COLLAPSE = ("tests/analysis/test_numbers.py", "tests/theory/test_scaling.py", "tests/experiments/test_collapse.py")
# module -> its tests, the quickest first
MODULES = {
    "edgechaos/theory/activations.py": (*_THEORY, "tests/dynamics/test_diagram.py"),
    "edgechaos/theory/quadrature.py": _THEORY,
    "edgechaos/theory/meanfield.py": _THEORY,
    "edgechaos/theory/stationary.py": _THEORY,
    "edgechaos/theory/replicas.py": _THEORY,
    "edgechaos/theory/finite_size.py": ("tests/theory/test_finite_size.py",),
    "edgechaos/theory/profile.py": ("tests/theory/test_profile.py",),
    "edgechaos/theory/scaling.py": ("tests/theory/test_scaling.py",),
    "edgechaos/theory/weight_decay.py": ("tests/theory/test_weight_decay.py",),
    "edgechaos/dynamics/lyapunov.py": ("tests/dynamics/test_lyapunov.py", "tests/dynamics/test_driven.py"),
    "edgechaos/dynamics/tangents.py": ("tests/dynamics/test_tangents.py", "tests/training/test_stability.py"),
    "edgechaos/dynamics/frames.py": ("tests/dynamics/test_driven.py", "tests/dynamics/test_lyapunov.py"),
    "edgechaos/dynamics/twins.py": ("tests/dynamics/test_lyapunov.py",),
    "edgechaos/dynamics/diagram.py": ("tests/dynamics/test_diagram.py",),
    "edgechaos/dynamics/cuts.py": ("tests/dynamics/test_trained.py", "tests/analysis/test_agreement.py"),
    "edgechaos/dynamics/input_dependence.py": ("tests/dynamics/test_input_dependence.py",),
    "edgechaos/dynamics/trained.py": ("tests/dynamics/test_trained.py",),
    "edgechaos/dynamics/attractors.py": ("tests/dynamics/test_attractors.py",),
    "edgechaos/dynamics/finite_size.py": ("tests/dynamics/test_finite_size.py",),
    "edgechaos/dynamics/surrogates.py": ("tests/dynamics/test_surrogates.py",),
    "edgechaos/data/noise.py": ("tests/data/test_noise.py",),
    "edgechaos/training/order.py": ("tests/training/test_order.py",),
    "edgechaos/training/optim.py": ("tests/training/test_optim.py",),
    "edgechaos/training/tasks.py": ("tests/training/test_tasks.py",),
    "edgechaos/training/stability.py": ("tests/training/test_stability.py",),
    "edgechaos/training/hold.py": (
        "tests/training/test_hold.py",
        *(f"tests/training/test_hold_{name}.py" for name in _HOLD),
        "tests/training/test_any_loop.py",
    ),
    "edgechaos/analysis/agreement.py": ("tests/analysis/test_agreement.py",),
    "edgechaos/analysis/collapse.py": _COLLAPSE,
    "edgechaos/analysis/decays.py": ("tests/analysis/test_decays.py", "tests/experiments/test_theories.py"),
    "edgechaos/analysis/fits.py": _COLLAPSE,
    "edgechaos/analysis/finite_size.py": ("tests/analysis/test_finite_size.py",),
    "edgechaos/analysis/plasticity.py": ("tests/analysis/test_plasticity.py",),
    "edgechaos/analysis/surrogates.py": ("tests/experiments/test_surrogates.py",),
    "edgechaos/analysis/three_edges.py": ("tests/analysis/test_three_edges.py",),
    "edgechaos/analysis/history.py": ("tests/analysis", *_COLLAPSE),
    "edgechaos/analysis/intervals.py": ("tests/analysis/test_intervals.py",),
    "edgechaos/analysis/numbers.py": _COLLAPSE,
    "edgechaos/analysis/optimum.py": ("tests/analysis/test_optimum.py", "tests/experiments/test_optimum.py"),
    "edgechaos/analysis/trained.py": ("tests/dynamics/test_trained.py", "tests/experiments/test_fig7.py"),
    "edgechaos/runs/checkpoints.py": ("tests/runs/test_checkpoints.py",),
}
# one replacement for arithmetic, a moved bound and the opposite for comparisons: the others die at once or say the same
_KEPT = re.compile(
    r"core/(ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Div|Mod_Mul|Pow_Mul|Bit(Or_BitAnd|And_BitOr))"
    r"|ReplaceComparisonOperator_(Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt|Gt_GtE|Gt_LtE|GtE_Gt|GtE_Lt|Eq_NotEq|NotEq_Eq|Is_IsNot"
    r"|IsNot_Is)|ReplaceUnaryOperator_Delete_.*|NumberReplacer|Replace(And|Or)With.*|Replace(True|False)With.*|AddNot"
    r"|ExceptionReplacer|ZeroIterationForLoop|ReplaceBreakWithContinue|ReplaceContinueWithBreak|RemoveDecorator)"
)


def no_difference(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Begin and end of what bears on no number: annotations, and decorators that compile or remember."""
    found: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(source)):
        found.append(getattr(node, "annotation", None))
        if isinstance(node, ast.FunctionDef):
            found.append(node.returns)
            found += [one for one in node.decorator_list if re.search("jit|cache", ast.unparse(one))]
    # a decorator begins with the sign before it
    return [((one.lineno, one.col_offset - 1), (one.end_lineno or 0, one.end_col_offset or 0)) for one in found if one]


def fresh_tree(folder: Path) -> None:
    """A copy of the tracked files, as they are now, in which mutants live."""
    shutil.rmtree(folder, ignore_errors=True)
    line = ["git", "-C", str(ROOT), "ls-files", "-z", "edgechaos", "experiments", "configs", "tests", "pyproject.toml"]
    for name in filter(None, subprocess.run(line, capture_output=True, text=True, check=True).stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)


def command_of(module: str, python: str, folder: Path) -> str:
    """What notices a mutant: the module's own examples and its tests, up to the first that fails."""
    # what a mutant leaves alone is compiled once
    kept = [f"JAX_COMPILATION_CACHE_DIR={folder / 'programs'}", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0"]
    line = ["env", "KEEP_PROGRAMS=1", *kept, python, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    return shlex.join([*line, module, *MODULES[module]])


def begin(session: Path, module: str) -> None:
    """Lists the mutants of a module in a new session; those that bear on no number are skipped."""
    from cosmic_ray.commands import init
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import WorkerOutcome, WorkResult

    spans, unfinished = no_difference(Path(module).read_text()), session.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with use_db(unfinished, WorkDB.Mode.create) as found:
        init([Path(module)], found, {})
        skipped = []
        for item in found.work_items:
            (mutation,) = item.mutations
            inside = any(start <= mutation.start_pos <= end for start, end in spans)
            if inside or not _KEPT.fullmatch(mutation.operator_name):
                skipped.append(item.job_id)
        found.set_multiple_results(skipped, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))
    unfinished.rename(session)


def try_module(module: str, python: str, most: int | None, again: bool) -> None:
    """Tries the mutants of a module that have not been tried, up to `most`; with `again` those that survived, too."""
    from cosmic_ray.mutating import mutate_and_test
    from cosmic_ray.work_db import WorkDB, WorkResultStorage, use_db
    from cosmic_ray.work_item import TestOutcome

    folder = FOLDER / module.removesuffix(".py").replace("/", ".")
    session = folder / f"{hashlib.sha256((ROOT / module).read_bytes()).hexdigest()[:16]}.sqlite"
    fresh_tree(folder / "tree")
    os.chdir(folder / "tree")
    command = command_of(module, python, folder)
    if not session.exists():
        for earlier in folder.glob("*.sqlite"):
            earlier.unlink()
        environment = {
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "1",
        }  # a mutant is as old and as long as what it replaces
        if subprocess.run(shlex.split(command), env=environment).returncode != 0:
            sys.exit(f"error: {module}: its tests fail without a mutant")
        begin(session, module)
    with use_db(session, WorkDB.Mode.open) as found:
        if again:
            with found._session_maker.begin() as rows:
                rows.query(WorkResultStorage).filter_by(test_outcome=TestOutcome.SURVIVED).delete()
        pending = found.pending_work_items
        for number, item in enumerate(pending[:most], 1):
            result = mutate_and_test(item.mutations, command, _LONGEST)
            found.set_result(item.job_id, result)
            (mutation,) = item.mutations
            outcome = getattr(result.test_outcome, "value", "not tried")
            where = f"{module}:{mutation.start_pos[0]} {mutation.operator_name}"
            print(f"{number} of {len(pending)}: {where}: {outcome}", flush=True)


def counts() -> dict[str, dict[str, int]]:
    """Module -> mutants that were tried, killed and still to be tried."""
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import TestOutcome, WorkerOutcome

    found = {}
    for module in MODULES:
        for session in (FOLDER / module.removesuffix(".py").replace("/", ".")).glob("*.sqlite"):
            with use_db(session, WorkDB.Mode.open) as kept:
                tried = [one for _, one in kept.completed_work_items if one.worker_outcome != WorkerOutcome.SKIPPED]
                killed = sum(one.test_outcome != TestOutcome.SURVIVED for one in tried)
                found[module] = {"tried": len(tried), "killed": killed, "left": len(kept.pending_work_items)}
    return found


def survivors() -> Iterator[str]:
    """The mutants that no test noticed, as differences."""
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import TestOutcome

    for session in sorted(FOLDER.glob("*/*.sqlite")):
        with use_db(session, WorkDB.Mode.open) as kept:
            yield from (
                str(one.diff) for _, one in kept.completed_work_items if one.test_outcome == TestOutcome.SURVIVED
            )


def report(record: bool) -> None:
    """Prints the survivors, and killed of tried by module; `record` keeps the latter with date and revision."""
    for difference in survivors():
        print(difference, end="\n\n")
    found = counts()
    for module, numbers in found.items():
        print(f"{module}: killed {numbers['killed']} of {numbers['tried']}, {numbers['left']} left")
    if record:
        line = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
        revision = subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()
        about: dict[str, Any] = {"date": datetime.date.today().isoformat(), "revision": revision, "modules": found}
        RECORD.write_text(json.dumps(about, indent=2) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--module", choices=MODULES, help="the only module to try (default: all)", metavar="FILE")
    parser.add_argument("--most", type=int, help="mutants of each module to try this time (default: all)")
    parser.add_argument("--again", action="store_true", help="try survivors again, after tests were added")
    parser.add_argument("--python", default=sys.executable, help="interpreter that runs the tests (default: this one)")
    parser.add_argument("--report", action="store_true", help="print survivors and counts instead")
    parser.add_argument("--record", action="store_true", help="keep the counts in results/mutants.json as well")
    arguments = parser.parse_args()
    if arguments.report:
        report(arguments.record)
        return
    for module in [arguments.module] if arguments.module else MODULES:
        try_module(module, os.path.abspath(arguments.python), arguments.most, arguments.again)


if __name__ == "__main__":
    main()
