"""Pictures are drawn while a sweep goes on: most members have no entries yet, and one may have diverged."""

import dataclasses
import importlib
import io

import jax.numpy as jnp
import numpy as np
import pytest

from edgechaos import plotting
from edgechaos.analysis import History
from edgechaos.runs.config import from_record
from edgechaos.runs.history import METRICS, columns_of, empty_record, enter_epoch, fill_record
from edgechaos.runs.members import sweep_members
from edgechaos.training import Metrics


def unfinished(config, num_begun, num_epochs, diverges):
    """The history of a sweep on the digits of which some members have had a few epochs."""
    whole = empty_record(sweep_members(config))
    begun = np.arange(num_begun)
    group = empty_record(columns_of(whole.columns, begun))
    for epoch in range(num_epochs + 1):
        values = jnp.full(num_begun, 0.25 + 0.01 * epoch)
        if diverges and epoch == num_epochs:
            values = values.at[0].set(jnp.nan)
        enter_epoch(group, epoch, Metrics(*[values] * len(METRICS)))
    fill_record(whole, begun, group.state())
    return History(whole.history(), 1437)


@pytest.mark.parametrize("num_seeds", [1, 3])
@pytest.mark.parametrize("diverges", [False, True])
@pytest.mark.parametrize(("num_begun", "num_epochs"), [(1, 0), (1, 1), (2, 5)])
@pytest.mark.parametrize("name", ["fig3", "fig4", "fig5", "fig6", "independence"])
def test_picture_of_an_unfinished_sweep(name, num_begun, num_epochs, diverges, num_seeds):
    config = from_record(importlib.import_module(f"configs.{name}").get_config("digits").to_dict())
    config = dataclasses.replace(config, num_seeds=num_seeds)
    history = unfinished(config, num_begun, num_epochs, diverges)
    with plotting.figure(8, 4, name) as figure:
        importlib.import_module(f"experiments.{name}").FIGURE.draw(figure, config, history)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        drawn = np.concatenate([np.ravel(line.get_ydata()) for axes in figure.axes for line in axes.lines])
    assert buffer.getvalue().startswith(b"\x89PNG")
    known = history["j_squared"][np.isfinite(history["j_squared"])]
    if name != "independence" and not diverges:  # the former draws what a member ends at, some leave out what diverged
        assert np.isclose(np.asarray(drawn, float), np.unique(known)[:, None]).any(1).all()
