"""Which mutants are tried, and by which tests; trying them takes hours and is no part of the suite."""

import pytest

from tests import mutants


@pytest.mark.parametrize("room", ["theory", "dynamics", "analysis"])
def test_every_module_that_computes_is_tried(room):
    there = {str(path.relative_to(mutants.ROOT)) for path in (mutants.ROOT / "edgechaos" / room).glob("[a-z]*.py")}
    assert there - {"edgechaos/theory/paper.py"} == {name for name in mutants.MODULES if f"/{room}/" in name}


def test_modules_and_their_tests_are_there():
    for module, tests in mutants.MODULES.items():
        assert all((mutants.ROOT / name).exists() for name in (module, *tests)), module


def test_annotations_and_compiling_bear_on_no_number():
    source = "@jax.jit\ndef f(x: int | None) -> int | float:\n    y: int = x + 1\n    return y\n"
    spans = mutants.no_difference(source)

    def bears_on_none(line, column):
        return any(start <= (line, column) <= end for start, end in spans)

    assert bears_on_none(1, 0)  # the decorator
    assert bears_on_none(2, 13)  # the bar of the argument
    assert bears_on_none(2, 30)  # and that of the result
    assert bears_on_none(3, 7)
    assert not bears_on_none(3, 15)  # the sum
    assert not mutants.no_difference("@dataclass\nclass A:\n    pass\n")


@pytest.mark.parametrize(
    ("operator", "is_kept"),
    [
        ("core/ReplaceBinaryOperator_Add_Sub", True),
        ("core/ReplaceBinaryOperator_Add_LShift", False),
        ("core/ReplaceComparisonOperator_Lt_LtE", True),
        ("core/ReplaceComparisonOperator_Lt_Is", False),
        ("core/NumberReplacer", True),
    ],
)
def test_of_operators_those_that_no_test_must_see_are_left_out(operator, is_kept):
    assert bool(mutants._KEPT.fullmatch(operator)) == is_kept
