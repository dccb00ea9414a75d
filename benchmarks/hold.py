"""What hold_at_edge costs: an epoch of Fig. 2's run with and without it.

python -m benchmarks.hold [--rounds=5] [--output=FILE.json]
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from benchmarks.common import in_turn, options, record, show, statistics
from edgechaos import data, training


def epochs(constraint: str, optimizer: str) -> Callable[[], object]:
    """A call that trains one more epoch at J = 1, where the hold is at work."""
    dataset = jax.device_put(data.load())
    spec = training.Spec(10, 32, init_j=1.0, optimizer=optimizer, constraint=constraint)
    keys = jax.random.split(jax.random.key(0), 1)
    rate, momentum = (0.02, 0.5) if optimizer == "sgd" else (1e-3, 0.0)
    numbers = training.Hyperparameters(*(jnp.full(1, value) for value in (rate, momentum, 0.0)))
    states = [training.start_members(keys, numbers, dataset, spec)[0]]

    def one() -> object:
        states[0], metrics = training.advance_members(states[0], keys, numbers, dataset, spec)
        return metrics

    return one


def main() -> None:
    """Command line."""
    arguments = options("benchmarks.hold", __doc__, rounds=5).parse_args()
    numbers: dict[str, dict[str, float]] = {}
    for optimizer in ("sgd", "adam"):
        held = f"{optimizer} with hold_at_edge"
        seconds = in_turn(
            {optimizer: epochs("none", optimizer), held: epochs("hold_at_edge", optimizer)}, arguments.rounds
        )
        numbers |= {f"{name}, s": statistics(values) for name, values in seconds.items()}
        pairs = zip(seconds[held], seconds[optimizer], strict=True)
        numbers[f"{optimizer}, ratio"] = statistics([one / bare for one, bare in pairs])
    show(numbers)
    record(arguments.output, {"numbers": numbers})


if __name__ == "__main__":
    main()
