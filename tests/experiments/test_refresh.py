"""Pictures are drawn while a sweep goes on: most members have no entries yet, and one may have diverged."""

import io

import jax.numpy as jnp
import numpy as np
import pytest

import configs.fig3
import configs.fig4
import configs.fig5
import configs.fig6
import configs.independence
from edgechaos import analysis, plotting
from edgechaos.runs.history import METRICS, columns_of, empty_record, enter_epoch, fill_record
from edgechaos.runs.members import sweep_members
from edgechaos.training.epochs import Metrics
from experiments import collapse, fig3, fig6, independence


def unfinished(get_config, num_begun, num_epochs, diverges, num_seeds):
    """The history of a sweep on the digits of which some members have had a few epochs."""
    config = {**get_config("digits").to_dict(), "num_seeds": num_seeds}
    whole = empty_record(sweep_members(config))
    begun = np.arange(num_begun)
    batch = empty_record(columns_of(whole.columns, begun))
    for epoch in range(num_epochs + 1):
        values = jnp.full(num_begun, 0.25 + 0.01 * epoch)
        if diverges and epoch == num_epochs:
            values = values.at[0].set(jnp.nan)
        enter_epoch(batch, epoch, Metrics(*[values] * len(METRICS)))
    fill_record(whole, begun, batch.state())
    return whole.history()


DRAWINGS = {
    "fig3": (configs.fig3, lambda figure, history: fig3.draw(figure, history, analysis.measure(history, 1437))),
    "fig4": (configs.fig4, lambda figure, history: collapse.draw(figure, history, inset=False)),
    "fig5": (configs.fig5, lambda figure, history: collapse.draw(figure, history, inset=True)),
    "independence": (configs.independence, independence.draw),
    "fig6": (configs.fig6, lambda figure, history: fig6.draw(figure, history, 1437)),
}


@pytest.mark.parametrize("num_seeds", [1, 3])
@pytest.mark.parametrize("diverges", [False, True])
@pytest.mark.parametrize(("num_begun", "num_epochs"), [(1, 0), (1, 1), (2, 5)])
@pytest.mark.parametrize("name", DRAWINGS)
def test_picture_of_an_unfinished_sweep(name, num_begun, num_epochs, diverges, num_seeds):
    module, draw = DRAWINGS[name]
    history = unfinished(module.get_config, num_begun, num_epochs, diverges, num_seeds)
    with plotting.figure(8, 4, name) as figure:
        draw(figure, history)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    assert buffer.getvalue().startswith(b"\x89PNG")
