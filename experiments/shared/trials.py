"""A search for the weight decay to compare with: Optuna's TPE, where each trial is a whole run judged by validation.

Every trial is written down, and a search that goes on is asked the same questions again, so that it takes the same way.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tqdm

from edgechaos.errors import UserError
from edgechaos.files import read_npz, write_npz

RANGE = (1e-6, 1e-2)  # of the decay, logarithmic

Objective = Callable[[float], float]


def require() -> Any:
    """The optuna package.

    Raises:
      UserError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise UserError(
            "trials: need the package optuna: pip install 'edgechaos[search]', or set trials to ()"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def search(
    path: Path, number: int, seed: int, objective: Objective, bounds: tuple[float, float] = RANGE
) -> tuple[np.ndarray, np.ndarray]:
    """Decay and validation accuracy of each of `number` trials, in their order.

    Args:
      path: an .npz that keeps the finished trials, and from which an earlier search goes on.
      number: of trials.
      seed: of the sampler.
      objective: decay -> validation accuracy in [0, 1].
      bounds: of the decay.

    Raises:
      UserError: `path` is damaged, or holds trials that this search would not have made.
    """
    optuna = require()
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    done = read_npz(path) if path.exists() else {"weight_decay": np.zeros(0), "accuracy": np.zeros(0)}
    bar = tqdm.tqdm(range(number), desc="trials", unit="trial", dynamic_ncols=True)
    for index in bar:
        trial = study.ask()
        decay = trial.suggest_float("weight_decay", *bounds, log=True)
        if index == len(done["accuracy"]):
            done = {
                name: np.append(done[name], value) for name, value in zip(done, (decay, objective(decay)), strict=True)
            }
            write_npz(path, done)
        earlier = done["weight_decay"][index]
        if not np.isclose(earlier, decay, rtol=1e-9):
            raise UserError(
                f"'{path}': trial {index + 1} had the decay {earlier:g}, but this search asks for {decay:g}; its seed, "
                "range or the version of Optuna has changed; remove the file"
            )
        study.tell(trial, float(done["accuracy"][index]))
        bar.set_postfix_str(f"lambda {study.best_params['weight_decay']:.3g}, accuracy {study.best_value:.4f}")
    return done["weight_decay"][:number], done["accuracy"][:number]


def best_after(numbers: tuple[int, ...], decays: np.ndarray, scores: np.ndarray) -> Iterator[tuple[int, float]]:
    """(number of trials, the best decay among as many) for each of `numbers`."""
    for number in numbers:
        yield number, float(decays[scores[:number].argmax()])
