"""Members per second of a sweep over weight decay: in one program, one after the other, and a process for each trial.

The digits (N = 64), 60 epochs. "Optuna" is a study whose trials each start a process, as sweeps by hand usually do.

    python -m benchmarks.sweep [--rounds=3] [--output=FILE.json]
"""

import argparse
import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import in_turn, options, record, show, statistics
from edgechaos import data, training

MEMBERS, EPOCHS, TRIALS = 64, 60, 4
RATE, MOMENTUM = 0.08, 0.5


def accuracies(decays: np.ndarray, vectorized: bool) -> jax.Array:
    """Test accuracy at the end of each member."""
    digits = data.load("digits")
    train = _program(digits.num_classes, vectorized)
    keys = jax.random.split(jax.random.key(0), len(decays))
    if vectorized:
        rates, momenta = jnp.full(len(decays), RATE), jnp.full(len(decays), MOMENTUM)
        return train(keys, training.Hyperparameters(rates, momenta, jnp.asarray(decays, jnp.float32)))
    alone = [training.Hyperparameters(RATE, MOMENTUM, float(decay)) for decay in decays]
    return jnp.stack([train(key, one) for key, one in zip(keys, alone, strict=True)])


@functools.cache
def _program(num_classes: int, vectorized: bool):
    """The compiled run, of one member or of many."""
    run = training.make_train(data.load("digits"), training.Spec(num_classes, 32), EPOCHS)

    def last(key: jax.Array, numbers: training.Hyperparameters) -> jax.Array:
        return run(key, numbers)[1].test_accuracy[-1]

    return jax.jit(jax.vmap(last) if vectorized else last)


def optuna_trials() -> float:
    """A study of a few trials, each in a process of its own."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial) -> float:
        decay = trial.suggest_float("weight_decay", 1e-5, 1e-2, log=True)
        line = [sys.executable, "-m", "benchmarks.sweep", f"--worker={decay}"]
        return float(subprocess.run(line, capture_output=True, text=True, check=True).stdout)

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=TRIALS)
    return study.best_value


def main() -> None:
    """Command line."""
    parser = options("benchmarks.sweep", __doc__, rounds=3)
    parser.add_argument("--worker", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        print(float(accuracies(np.array([arguments.worker]), False)[0]))
        return
    decays = np.geomspace(1e-5, 1e-2, MEMBERS)
    seconds = in_turn(
        {
            "one program": lambda: accuracies(decays, True),
            "one after the other": lambda: accuracies(decays[:8], False),
            "a process for each trial (Optuna)": optuna_trials,
        },
        arguments.rounds,
    )
    counts = dict(zip(seconds, (MEMBERS, 8, TRIALS), strict=True))
    rates = {name: [counts[name] / value for value in values] for name, values in seconds.items()}
    numbers = {f"{name}, members per second": statistics(values) for name, values in rates.items()}
    for name, values in rates.items():
        if name != "one program":
            ratios = [ours / other for ours, other in zip(rates["one program"], values, strict=True)]
            numbers[f"one program / {name}"] = statistics(ratios)
    show(numbers)
    record(arguments.output, {"benchmark": f"{MEMBERS} members of {EPOCHS} epochs of the digits", "numbers": numbers})


if __name__ == "__main__":
    main()
