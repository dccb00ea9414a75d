"""Checks the translator between weight-decay conventions on the optimizers of PyTorch and Keras themselves.

A weight of 1 without a gradient decays for some steps under each; the share that is left must be that of the paper's
convention over as many epochs. Ends with status 1 if one differs by more than the second order in the decay per step.

    python -m benchmarks.conversion [--output=FILE.json]
"""

import os
import sys
from collections.abc import Callable

import numpy as np

from benchmarks.common import options, record
from edgechaos.theory.weight_decay import Setting, convert_weight_decay, half_life

ETA, ALPHA, LAMBDA, STEPS = 0.05, 0.8, 1e-3, 4000
SETTING = Setting(ETA, ALPHA, 32)
ADAM = Setting(0.01, batch_size=64)  # half as many steps per epoch
TOLERANCE = 0.005


def torch_left(make_optimizer: Callable[[list], object], num_steps: int) -> float:
    """What PyTorch's optimizer leaves of a weight of 1 whose gradient is 0, in float64."""
    import torch

    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = make_optimizer([weight])
    for _ in range(num_steps):
        weight.grad = torch.zeros_like(weight)
        optimizer.step()  # type: ignore[attr-defined]
    return weight.item()


def torch_sgd() -> tuple[float, int]:
    """PyTorch's SGD with momentum."""
    import torch

    decay = float(convert_weight_decay(LAMBDA, "paper", "torch_sgd", SETTING))
    return torch_left(lambda weights: torch.optim.SGD(weights, ETA, ALPHA, weight_decay=decay), STEPS), STEPS


def torch_adamw() -> tuple[float, int]:
    """PyTorch's AdamW at another batch size."""
    import torch

    decay = float(convert_weight_decay(LAMBDA, "paper", "adamw", SETTING, ADAM))
    make = lambda weights: torch.optim.AdamW(weights, ADAM.learning_rate, weight_decay=decay)  # noqa: E731
    return torch_left(make, STEPS // 2), STEPS // 2


def keras_l2() -> tuple[float, int]:
    """Keras' SGD with an l2 penalty on a kernel, whose gradient the penalty alone makes."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras
    import tensorflow as tf

    decay = float(convert_weight_decay(LAMBDA, "paper", "keras_l2", SETTING))
    penalty = keras.regularizers.L2(decay)
    weight = keras.Variable(np.ones(1), dtype="float64")
    optimizer = keras.optimizers.SGD(ETA, ALPHA)
    optimizer.build([weight])

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            loss = penalty(weight.value)
        optimizer.apply([tape.gradient(loss, weight.value)], [weight])

    for _ in range(STEPS):
        step()
    return float(weight.numpy()[0]), STEPS


def main() -> None:
    """Command line."""
    output = options("benchmarks.conversion", __doc__).parse_args().output
    per_step = 2 * ETA * LAMBDA / (1 - ALPHA)
    samples = 100 * SETTING.batch_size  # an epoch of 100 steps
    numbers = {}
    for convention in (torch_sgd, torch_adamw, keras_l2):
        left, steps = convention()
        epochs = steps / (100 if steps == STEPS else 50)
        numbers[convention.__name__] = {
            "left": left,
            "expected": float(np.exp(-STEPS * per_step)),
            "half-life, epochs": float(-np.log(2) * epochs / np.log(left)),
            "expected half-life, epochs": float(half_life(per_step, SETTING.batch_size, samples)),
        }
        print(convention.__name__, {name: round(value, 4) for name, value in numbers[convention.__name__].items()})
    record(output, {"conventions": numbers})
    if any(abs(entry["left"] / entry["expected"] - 1) > TOLERANCE for entry in numbers.values()):
        sys.exit("a convention differs")


if __name__ == "__main__":
    main()
