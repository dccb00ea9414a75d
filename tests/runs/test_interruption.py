"""Signals that ask a run to stop, sent to this process."""

import os
import signal
import threading

import pytest

from edgechaos.runs.interruption import stop_requests


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_the_first_signal_asks_and_the_second_acts_at_once(number, caplog):
    former = signal.getsignal(number)
    with stop_requests("epoch") as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        assert stop.wait(10)
        assert "stopping after this epoch (once more: at once)" in caplog.text
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is former


def test_a_handler_from_elsewhere_is_no_obstacle(monkeypatch):
    """Python knows None of a handler that was not set from Python."""
    set_signal = signal.signal
    monkeypatch.setattr(signal, "signal", lambda *arguments: set_signal(*arguments) and None)
    former = signal.getsignal(signal.SIGTERM)
    try:
        with stop_requests("epoch"):
            pass
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        set_signal(signal.SIGTERM, former)
        set_signal(signal.SIGINT, signal.default_int_handler)


def test_threads_have_no_signals():
    seen = []

    def work():
        with stop_requests("epoch") as stop:
            seen.append(stop.is_set())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
