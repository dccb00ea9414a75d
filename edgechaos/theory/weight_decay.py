"""Weight decay in its conventions: lambda of the paper, delta per step, half-lives, and other frameworks' numbers."""

import dataclasses

import numpy as np
from jaxtyping import Float

from edgechaos.theory.scaling import Scalar


def decay_per_step(learning_rate: Scalar, momentum: Scalar, weight_decay: Scalar) -> Scalar:
    """delta = 2 eta lambda / (1 - alpha), the share of a weight that lambda removes per step (half of Eq. C4)."""
    return 2 * learning_rate * weight_decay / (1 - momentum)


def weight_decay_of(delta: Scalar, learning_rate: Scalar, momentum: Scalar = 0.0) -> Scalar:
    """lambda = delta (1 - alpha) / (2 eta), the inverse of `decay_per_step`."""
    return delta * (1 - momentum) / (2 * learning_rate)


def steps_per_epoch(num_samples: int, batch_size: int) -> int:
    """ceil(S / B): the smaller last batch counts."""
    return -(-num_samples // batch_size)


def weight_decay_by_epoch(
    clock: Float[np.ndarray, "*members entries"],
    learning_rate: float,
    momentum: float,
    num_steps: int,
    elapsed: Float[np.ndarray, "entries"] | None = None,
) -> Float[np.ndarray, "*members epochs"]:
    """lambda of each epoch of a held run, its mean over the epoch's steps, at the learning rate of the epoch.

    Args:
      clock: sum of delta over the steps so far, after each epoch, as in history.npz.
      learning_rate: eta, before a schedule.
      momentum: alpha.
      num_steps: per epoch.
      elapsed: epochs at the full learning rate, if the learning rate has a schedule (`History.elapsed`).
    """
    share = 1.0 if elapsed is None else np.diff(elapsed)
    delta = np.diff(clock.astype(np.float64), axis=-1) / num_steps
    return np.asarray(weight_decay_of(delta, learning_rate * share, momentum))


def half_life(decay: Scalar, batch_size: Scalar, num_samples: int) -> Scalar:
    """Epochs in which a decay of a share `decay` per step halves a weight: ln 2 / (decay S / B)."""
    return np.log(2) * batch_size / (decay * num_samples)


@dataclasses.dataclass(frozen=True)
class Setting:
    """Hyperparameters that turn a weight decay into the share of the weights that it removes per step.

    Attributes:
      learning_rate: eta > 0 of the optimizer with this decay.
      momentum: alpha in [0, 1); "adamw" does not use it.
      batch_size: B >= 1.
    """

    learning_rate: float
    momentum: float = 0.0
    batch_size: int = 1


def _decay_of_one(convention: str, setting: Setting) -> float:
    """Share of a weight that a weight decay of 1 removes per step, to first order."""
    shrink = setting.learning_rate / (1 - setting.momentum)
    factors = {
        "paper": decay_per_step(setting.learning_rate, setting.momentum, 1.0),  # through the momentum
        "keras_l2": 2 * shrink,  # the loss gets l sum(w^2)
        "torch_sgd": shrink,  # the gradient gets wd w before the momentum buffer
        "optax_decayed_weights": shrink,  # add_decayed_weights chained before sgd
        "adamw": setting.learning_rate,  # decoupled: w loses eta wd w
    }
    if convention not in factors:
        raise ValueError(f"convention = '{convention}': must be one of {', '.join(factors)}")
    return float(factors[convention])


def convert_weight_decay(
    value: Scalar, source: str, target: str, setting: Setting, target_setting: Setting | None = None
) -> Scalar:
    """The weight decay in the convention `target` that shrinks weights per epoch as much as `value` in `source`.

    Args:
      value: >= 0, in the convention `source`.
      source: "paper" (lambda of Eq. 6), "keras_l2" (kernel_regularizer), "torch_sgd" (torch.optim.SGD's weight_decay),
        "optax_decayed_weights" (optax.add_decayed_weights chained before optax.sgd), or "adamw" (optax.adamw and
        torch.optim.AdamW, whose decay does not pass through the momentum).
      target: the same.
      setting: learning rate, momentum and batch size on the side of `source`.
      target_setting: those on the side of `target`, if they differ.

    Raises:
      ValueError: an unknown convention.

    >>> convert_weight_decay(9e-5, "paper", "torch_sgd", Setting(0.02, 0.5, 32))
    0.00018
    >>> adam = Setting(1e-3, batch_size=128)
    >>> round(convert_weight_decay(9e-5, "paper", "adamw", Setting(0.02, 0.5, 32), adam), 5)
    0.0288
    """
    other = setting if target_setting is None else target_setting
    per_step = value * _decay_of_one(source, setting)
    return per_step * other.batch_size / setting.batch_size / _decay_of_one(target, other)
