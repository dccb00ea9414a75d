"""Signals that ask a run to stop, sent to this process."""

import signal
import threading

import pytest

from edgechaos.runs.interruption import stop_requests

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@BOTH
def test_the_first_signal_is_a_request_and_the_second_acts_at_once(number, caplog):
    before = signal.getsignal(number)
    with stop_requests("epoch") as requested:
        assert not requested.is_set()
        assert signal.getsignal(number) is not before  # whose way to act may be the end of the tests
        signal.raise_signal(number)
        assert requested.is_set()
        assert "stopping after this epoch" in caplog.text
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_the_second_may_be_another_one():
    """As when a batch system asks and then a user does."""
    with stop_requests("epoch"):
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


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
