"""Tests run most commands in forks of one process, which must do what a process of its own does."""

import subprocess

import pytest

from tests import processes


@pytest.mark.parametrize(
    "argument", ["--config.epochs=many", "--config.batch_size=5000", "--helpshort"], ids=lambda argument: argument
)
def test_a_fork_ends_as_a_process_of_its_own(tmp_path, argument):
    alone = subprocess.run(
        processes.command("fig2", tmp_path, argument), cwd=processes.ROOT, capture_output=True, text=True
    )
    forked = processes.run("fig2", tmp_path, argument)
    assert (forked.returncode, forked.stdout, forked.stderr) == (alone.returncode, alone.stdout, alone.stderr)
    assert forked.returncode in (1, 2)
