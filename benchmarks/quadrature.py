"""Error of Gaussian averages by the graded rule and by Gauss-Hermite rules, against adaptive quadrature.

The integrands are those of the theory, tanh^2 and sech^4 of J0 mu + J sqrt(q0) z, with widths J sqrt(q0) up to 50.

    python -m benchmarks.quadrature [--output=FILE.json]
"""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import quad

from benchmarks.common import options, record
from edgechaos.theory.quadrature import gaussian_average

WIDTHS = (1.0, 3.0, 10.0, 50.0)
MEANS = (0.0, 0.5, 1.0)  # in units of the width
NODES = (20, 50, 100, 200)
INTEGRANDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh^2": lambda h: np.tanh(h) ** 2,
    "sech^4": lambda h: (1 - np.tanh(h) ** 2) ** 2,
}


def adaptive(function: Callable[[np.ndarray], np.ndarray], mean: float, width: float) -> float:
    """The average by QUADPACK, in pieces that shrink towards the steepest place."""
    steps = 2.0 ** -np.arange(12)
    centre = -mean / width
    edges = np.sort(np.concatenate([[-9, 9, centre], centre - steps, centre + steps]))

    def integrand(z: float) -> float:
        return float(np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * function(np.array(mean + width * z)))

    return sum(quad(integrand, a, b, epsabs=1e-14)[0] for a, b in itertools.pairwise(edges))


def hermite(name: str, mean: float, width: float, nodes: int) -> float:
    """The average by a Gauss-Hermite rule."""
    z, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return float(weights @ INTEGRANDS[name](mean + width * z) / weights.sum())


def graded(name: str, mean: float, width: float) -> float:
    """The average by the rule of the library, in float64."""
    functions = {"tanh^2": lambda h: jnp.tanh(h) ** 2, "sech^4": lambda h: (1 - jnp.tanh(h) ** 2) ** 2}
    return float(gaussian_average(functions[name], jnp.array(mean), jnp.array(width)))


def largest_errors(name: str, width: float) -> dict[str, float]:
    """The largest error of each rule over the means."""
    errors: dict[str, list[float]] = {}
    for mean in (share * width for share in MEANS):
        exact = adaptive(INTEGRANDS[name], mean, width)
        errors.setdefault("graded", []).append(abs(graded(name, mean, width) - exact))
        for nodes in NODES:
            rule = f"Gauss-Hermite, {nodes}"
            errors.setdefault(rule, []).append(abs(hermite(name, mean, width, nodes) - exact))
    return {rule: max(values) for rule, values in errors.items()}


def main() -> None:
    """Command line."""
    arguments = options("benchmarks.quadrature", __doc__).parse_args()
    with jax.enable_x64(True):
        errors = {f"{name}, width {width:g}": largest_errors(name, width) for name in INTEGRANDS for width in WIDTHS}
    for name, row in errors.items():
        print(f"{name:20}" + "".join(f"  {rule}: {error:.1e}" for rule, error in row.items()))
    record(arguments.output, {"largest errors": errors})


if __name__ == "__main__":
    main()
