"""Mean field, Lyapunov spectrum and phase_report beside what one would write with SciPy and NumPy.

python -m benchmarks.theory [--rounds=5] [--output=FILE.json]
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import quad
from scipy.optimize import fsolve

import edgechaos as ec
from benchmarks.common import in_turn, options, record, show, side_by_side

COLUMNS, ROWS = np.linspace(-1, 2, 151, dtype=np.float32), (np.arange(1, 101) / 50).astype(np.float32)
FEW = 20  # cells for SciPy
NEURONS, ITERATIONS = 200, 1000  # of the map with a spectrum


def scipy_chi(j0: float, j: float) -> float:
    """Eq. 3's left-hand side of one cell by adaptive quadrature and a root finder."""

    def average(function, mu: float, q0: float) -> float:
        def integrand(z: float) -> float:
            return float(np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * function(j0 * mu + j * np.sqrt(abs(q0)) * z))

        return quad(integrand, -8, 8, limit=200)[0]

    def residual(state: np.ndarray) -> list[float]:
        mu, q0 = state
        return [average(np.tanh, mu, q0) - mu, average(lambda h: np.tanh(h) ** 2, mu, q0) - q0]

    mu, q0 = fsolve(residual, [1.0 if j0 > 0 else 0.0, 1.0])
    return j**2 * average(lambda h: (1 - np.tanh(h) ** 2) ** 2, mu, q0)


def numpy_spectrum(kernel: np.ndarray, x: np.ndarray) -> np.ndarray:
    """All Lyapunov exponents by a loop: one step, one product with the frame, one QR."""
    frame, total = np.eye(len(x), dtype=x.dtype), np.zeros(len(x))
    for _ in range(ITERATIONS):
        x = np.tanh(x @ kernel)
        frame, triangle = np.linalg.qr(((1 - x**2)[:, None] * kernel.T) @ frame)
        total += np.log(np.abs(np.diag(triangle)))
    return total / ITERATIONS


def singular_values(params: dict[str, np.ndarray]) -> dict[str, float]:
    """What tools that decompose each layer begin with: the share of the largest singular value."""
    found = {}
    for name, kernel in params.items():
        values = np.linalg.svd(kernel, compute_uv=False)
        found[name] = float(values[0] / values.sum())
    return found


def main() -> None:
    """Command line."""
    arguments = options("benchmarks.theory", __doc__, rounds=5).parse_args()
    np.testing.assert_allclose(ec.chi(0.5, 1.5), scipy_chi(0.5, 1.5), rtol=1e-4)
    ratio, inverse = (axis.ravel() for axis in np.meshgrid(COLUMNS, ROWS))
    few = np.linspace(0, len(ratio) - 1, FEW).astype(int)
    chi = in_turn(
        {
            "edgechaos": lambda: ec.chi(ratio / inverse, 1 / inverse),
            "scipy": lambda: [scipy_chi(ratio[cell] / inverse[cell], 1 / inverse[cell]) for cell in few],
        },
        arguments.rounds,
    )
    per_cell = {
        "edgechaos": [seconds / len(ratio) for seconds in chi["edgechaos"]],
        "scipy": [seconds / FEW for seconds in chi["scipy"]],
    }
    kernel = 1.5 * np.random.default_rng(0).normal(size=(NEURONS, NEURONS)).astype(np.float32) / NEURONS**0.5
    start = np.ones(NEURONS, np.float32)
    spectrum = jax.jit(
        lambda kernel, x: ec.lyapunov_spectrum(lambda x: jnp.tanh(x @ kernel), x, NEURONS, num_iterations=ITERATIONS)
    )
    found = spectrum(kernel, start)
    np.testing.assert_array_less(jnp.abs(found.exponent - numpy_spectrum(kernel, start)), 6 * found.standard_error)
    spectra = in_turn(
        {"edgechaos": lambda: spectrum(kernel, start), "numpy": lambda: numpy_spectrum(kernel, start)},
        arguments.rounds,
    )
    rng = np.random.default_rng(0)
    shapes = {"hidden": (784, 784), "output": (784, 491)}
    params = {name: (rng.normal(size=shape) / 28).astype(np.float32) for name, shape in shapes.items()}
    reports = in_turn(
        {"edgechaos": lambda: str(ec.phase_report(params)), "svd": lambda: singular_values(params)}, arguments.rounds
    )
    tables = {
        "chi of a cell of Fig. 1b": side_by_side("edgechaos", per_cell),
        f"Lyapunov spectrum, N = {NEURONS}, {ITERATIONS} iterations": side_by_side("edgechaos", spectra),
        "report of a million parameters": side_by_side("edgechaos", reports),
    }
    show(tables)
    record(arguments.output, {"numbers": tables})


if __name__ == "__main__":
    main()
