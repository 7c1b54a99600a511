"""What may interrupt work on a database: a signal, and a connection that is lost."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from statekeep_cli.errors import DatabaseUnavailable
from statekeep_cli.stores.interface import Store

RECONNECTS = 6


def reconnected(store: Store) -> Store:
    """Another connection in place of a lost one; some patience for a server that restarts."""
    for attempt in range(RECONNECTS):
        time.sleep(min(5.0, 0.2 * 2**attempt))
        with suppress(DatabaseUnavailable):
            found = store.again()
            store.close()
            return found
    return store.again()


@contextmanager
def stopping(stop: threading.Event) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM sets `stop`; the second has its usual effect."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def asked(number: int, frame: FrameType | None) -> None:
        stop.set()
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, asked)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
