"""Signals that ask a run to stop, sent to this process, and to others where they end them."""

import signal
import subprocess
import sys
import threading

import pytest

from edgechaos.runs import interruption
from edgechaos.runs.interruption import stop_requests

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@BOTH
def test_the_first_signal_is_a_request_and_leaves_the_second_to_the_system(number, caplog):
    before = signal.getsignal(number)
    with stop_requests("epoch") as requested:
        assert not requested.is_set()
        assert signal.getsignal(number) is not before  # whose way to act may be the end of the tests
        signal.raise_signal(number)
        assert requested.is_set()
        assert "stopping after this epoch" in caplog.text
        assert signal.getsignal(signal.SIGINT) == signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(
    ("first", "second"),
    [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)],
    ids=lambda number: number.name,
)
def test_the_second_signal_acts_where_python_can_raise_nothing(first, second):
    """Both within a callback of the garbage collector: what is raised there is printed as a traceback and forgotten."""
    code = f"""
import gc, runpy, signal
interruption = runpy.run_path({interruption.__file__!r})
def twice(phase, info):
    signal.raise_signal({int(first)})
    signal.raise_signal({int(second)})
with interruption["stop_requests"]("epoch"):
    gc.callbacks.append(twice)
    gc.collect()
    print("went on")
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == -second
    assert ended.stdout == ""
    assert "stopping after this epoch" in ended.stderr
    assert "Traceback" not in ended.stderr


@BOTH
def test_former_handlers_come_back_after_an_error(number):
    before = signal.getsignal(number)
    with pytest.raises(OSError, match="full"), stop_requests("epoch"):
        raise OSError("full")
    assert signal.getsignal(number) is before


def test_a_thread_cannot_be_asked_and_is_not_disturbed():
    seen = []

    def work():
        with stop_requests("epoch") as requested:
            seen.append((signal.getsignal(signal.SIGTERM), requested.is_set()))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, False)]


def test_a_request_counts_while_standard_error_is_being_written(monkeypatch):
    """Python refuses to write within a write that the signal has interrupted."""

    def refuse(*_):
        raise RuntimeError("reentrant call")

    monkeypatch.setattr(interruption.logger, "warning", refuse)
    with stop_requests("epoch") as requested:
        signal.raise_signal(signal.SIGINT)
        assert requested.is_set()


def test_a_handler_from_elsewhere_is_no_obstacle(monkeypatch):
    """Python knows None of a handler that was not set from Python."""
    get_handler = signal.getsignal
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    before = {number: get_handler(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with stop_requests("epoch"):
            pass
        assert {get_handler(number) for number in before} == {signal.SIG_DFL}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
