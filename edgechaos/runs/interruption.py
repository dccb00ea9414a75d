"""Ctrl-C and SIGTERM as a request that long work honours at a good moment."""

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from typing import Any

logger = logging.getLogger(__name__)


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop and has saved its state."""


@contextlib.contextmanager
def stop_requests(unit: str) -> Iterator[threading.Event]:
    """Turns the first Ctrl-C or SIGTERM into a request, honoured after the current `unit`; the second ends the process.

    The system ends it, as kill -9 would: an exception would wait for a long computation, and is lost in a callback that
    is not called from Python, such as those of the garbage collector.
    """
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return

    def request(_number: int, _frame: Any) -> None:
        for number in former:
            signal.signal(number, signal.SIG_DFL)
        requested.set()
        with contextlib.suppress(RuntimeError):  # the signal may come while standard error is being written
            logger.warning("stopping after this %s (once more: at once)", unit)

    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in former:
            signal.signal(number, request)
        yield requested
    finally:
        for number, handler in former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
