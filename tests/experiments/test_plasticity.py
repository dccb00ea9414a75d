import functools
import json
import signal
import subprocess

import numpy as np
import pytest
from matplotlib.figure import Figure

from configs import plasticity as configs
from edgechaos import data
from edgechaos.errors import UserError
from edgechaos.files import read_npz
from edgechaos.runs.fields import fields_of, validate
from experiments import plasticity
from tests import processes

run = functools.partial(processes.run, "plasticity")
SHORT = ("--config.num_tasks=10", "--config.epochs=1", "--config.num_images=400", "--config.num_random_images=100")
FEW = (*SHORT, "--config.num_seeds=2", "--config.ways=('shrink_and_perturb','hold_at_edge')")
TWO = "--config.weight_decays=(0.0,0.01)"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("plasticity")
    result = run(workdir, *FEW, TWO)
    assert result.returncode == 0, result.stderr
    return workdir, result


def pieces(workdir):
    return {path.name: path.stat().st_mtime_ns for path in (workdir / "runs").glob("*.npz")}


def test_what_is_written(finished):
    workdir, result = finished
    arrays, summary = read_npz(workdir / "plasticity.npz"), json.loads((workdir / "summary.json").read_text())
    assert arrays["way"].tolist() == ["no_decay", "decay_0.01", "shrink_and_perturb", "hold_at_edge"]
    for name in ("accuracy", "loss", "j_squared", "saturated", "stuck"):
        assert arrays[name].shape == (2, 4, 2, 10)
        assert np.isfinite(arrays[name]).all()
    assert summary["predicted"].keys() == summary["measured"].keys() == summary["meaning"].keys()
    np.testing.assert_allclose(
        summary["measured"]["j_squared_at_random_no_decay"], arrays["j_squared"][1, 0, :, -1].mean(), rtol=1e-6
    )
    claims = [(row["kind"], row["way"]) for row in summary["ways"] if row["verdict"]]
    assert claims == [(kind, way) for kind in ("permuted", "random") for way in ("no_decay", "hold_at_edge")]
    assert "falls: " in result.stdout
    for name in ("plasticity.png", "plasticity.pdf"):
        assert (workdir / name).stat().st_size > 10_000


def test_networks_learn_and_ways_differ(finished):
    arrays = read_npz(finished[0] / "plasticity.npz")
    assert (arrays["accuracy"][0, 0, :, -1] > 0.5).all()
    growth = arrays["j_squared"].mean(2)
    assert (growth[:, 0, -1] > growth[:, 1, -1]).all()  # a decay slows growth
    assert (growth[:, 0, -1] > growth[:, 2, -1]).all()  # so does shrinking
    # the first task is the same whether or not weights are renewed after it
    np.testing.assert_array_equal(arrays["loss"][:, 0, :, 0], arrays["loss"][:, 2, :, 0])
    assert (arrays["loss"][:, 0, :, 1] != arrays["loss"][:, 2, :, 1]).all()


def test_the_same_command_computes_nothing_again(finished):
    workdir, first = finished
    before = pieces(workdir)
    again = run(workdir, *FEW, TWO)
    assert again.stdout == first.stdout
    assert pieces(workdir) == before


def test_more_decays_and_kinds_keep_what_is_there(finished, tmp_path):
    result = run(tmp_path, *FEW, "--config.weight_decays=(0.0,)", "--config.kinds=('random',)")
    assert result.returncode == 0, result.stderr
    before = pieces(tmp_path)
    assert len(before) == 3
    result = run(tmp_path, *FEW, TWO)
    assert result.returncode == 0, result.stderr
    assert pieces(tmp_path).items() > before.items()
    whole, grown = (read_npz(folder / "plasticity.npz") for folder in (finished[0], tmp_path))
    for name, values in whole.items():
        np.testing.assert_array_equal(grown[name], values, err_msg=name)
    result = run(tmp_path, *FEW, TWO, "--config.epochs=2")
    assert "holds a run of another config (epochs 1 -> 2)" in result.stderr


def test_a_killed_run_goes_on_with_the_same_bits(finished, tmp_path):
    line = processes.command("plasticity", tmp_path, *FEW, TWO)
    process = subprocess.Popen(line, cwd=processes.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    processes.wait_for(lambda: process.poll() is not None or any(tmp_path.glob("runs/*.npz")))
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    before = pieces(tmp_path)
    assert 0 < len(before) < 8
    result = run(tmp_path, *FEW, TWO)
    assert result.returncode == 0, result.stderr
    assert pieces(tmp_path).items() > before.items()
    whole, found = (read_npz(folder / "plasticity.npz") for folder in (finished[0], tmp_path))
    for name, values in whole.items():
        assert found[name].tobytes() == values.tobytes(), name


def test_adam_learns_too(tmp_path):
    adam = ("--config.optimizer=adam", "--config.learning_rate=0.005", "--config.num_tasks=10", "--config.epochs=5")
    few = ("--config.kinds=('permuted',)", "--config.weight_decays=(0.0,)", "--config.ways=('hold_at_edge',)")
    result = run(tmp_path / "run", *few, *adam)
    assert result.returncode == 2
    assert "momentum = 0.5: must be 0 with optimizer = 'adam'" in result.stderr
    result = run(tmp_path / "run", *few, *adam, "--config.momentum=0.0")
    assert result.returncode == 0, result.stderr
    assert (read_npz(tmp_path / "run" / "plasticity.npz")["accuracy"] > 0.6).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.num_tasks=9"], "num_tasks = 9: must be an integer >= 10"),
        (["--config.ways=('hard_sphere',)"], "ways = ('hard_sphere',): 'hold_at_edge' must be among them"),
        (["--config.ways=('hold_at_egde',)"], "must be a tuple of distinct words out of shrink_and_perturb, hold_at_e"),
        (["--config.kinds=('random','sorted')"], "must be a tuple of distinct words out of permuted, random"),
        (["--config.weight_decays=(0.1,)"], "weight_decays = (0.1,): must be a tuple of numbers that rise from 0"),
        (["--config.weight_decays=(0.0,0.2,0.1)"], "must be a tuple of numbers that rise from 0"),
        (["--config.num_random_images=20"], "batch_size = 32: must be in [1, 20]"),
        (["--config.num_images=2000"], "num_images = 2000: must be at most 1437, the size of the training set"),
        (["--config.shrink=1.1"], "shrink = 1.1: must be in [0, 1]"),
        (["--config.perturb=-0.1"], "perturb = -0.1: must be >= 0"),
    ],
)
def test_bad_command_line_is_one_clear_error(tmp_path, arguments, message):
    result = run(tmp_path / "run", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def config_of(variant=None):
    return validate(configs.get_config(variant).to_dict(), plasticity.Config)


def test_memory_is_asked_for_before_anything_is_computed(monkeypatch, tmp_path):
    monkeypatch.setattr("edgechaos.runs.machine.free_memory", lambda: 10_000_000)
    config = config_of("digits")
    assert len(plasticity.prepare(config, tmp_path).train_labels) == 1437
    monkeypatch.setattr("edgechaos.runs.machine.free_memory", lambda: 1_000_000)
    with pytest.raises(UserError, match=r"tasks of 1360 images, tests included, need .* take fewer images"):
        plasticity.prepare(config, tmp_path)


def test_wide_networks_are_trained_one_by_one_and_narrow_ones_together():
    digits = data.load("digits")
    assert plasticity._at_once(config_of("digits"), digits) == 3
    wide = np.zeros((4, 784), np.float32)
    labels = np.zeros(4, np.int32)
    assert plasticity._at_once(config_of(), data.Dataset(wide, labels, wide, labels, num_classes=10)) == 1


@pytest.mark.parametrize("variant", configs.VARIANTS)
def test_every_variant_has_both_kinds_and_all_that_is_compared(variant):
    config = config_of(variant)
    assert set(configs.get_config(variant)) == fields_of(plasticity.Config).keys()
    plasticity.check(config)
    ways = plasticity.ways_of(config)
    assert ways.keys() >= {"no_decay", "hold_at_edge"}
    assert len(config.weight_decays) >= 2
    assert set(config.kinds) == {"permuted", "random"}


def test_full_variant_is_what_the_header_says():
    config = config_of()
    ways = plasticity.ways_of(config)
    assert len(ways) * len(config.kinds) * config.num_seeds == 36
    assert (ways["decay_9e-05"].weight_decay, ways["decay_0.001"].weight_decay) == (9e-5, 1e-3)
    assert ways["hard_sphere"].constraint == "hard_sphere"
    renewed = [name for name, way in ways.items() if (way.renewal.shrink, way.renewal.perturb) != (1.0, 0.0)]
    assert renewed == ["shrink_and_perturb"]
    images, epochs = plasticity.size_of(config, "random")
    assert (images, epochs) == (2000, 50)
    assert images * epochs == np.prod(plasticity.size_of(config, "permuted"))


def test_figure_has_a_column_for_each_kind():
    arrays = {"kind": np.array(["random"]), "way": np.array(["no_decay", "hold_at_edge"])}
    for name in ("accuracy", "j_squared"):
        arrays[name] = np.full((1, 2, 3, 12), 0.5)
    figure = Figure()
    plasticity.draw(figure, arrays)
    above, below = figure.axes
    assert above.get_ylabel() == "training accuracy"
    np.testing.assert_array_equal(above.lines[0].get_xdata(), np.arange(1, 13))
    assert len(below.lines) == 3  # and the edge
