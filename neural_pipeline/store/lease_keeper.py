"""The thread that keeps a run's lease while the run works, and gives the batch up when its time is over."""

import threading
from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from neural_pipeline.store.batches import Token
from neural_pipeline.store.leases import Standing, renew

_RENEWALS_PER_LEASE = 3
"""So that two renewals may fail before the lease runs out."""


class LeaseKeeper:
    """Renews the lease of a batch every third of its length, from a thread that ends with the process.

    A database that does not answer is asked again: whether the batch was given up meanwhile, only it can say.
    """

    def __init__(self, engine: Engine, token: Token, *, seconds: float, on_overdue: Callable[[], None]) -> None:
        self._engine = engine
        self._token = token
        self._seconds = seconds
        self._on_overdue = on_overdue
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease of batch {token.batch_id}", daemon=True)

    def start(self) -> None:
        """Begin to keep the lease."""
        self._thread.start()

    def stop(self) -> None:
        """Let the lease run out; returns when the thread has ended, or hangs on a server that does not answer."""
        self._stopped.set()
        self._thread.join(timeout=self._seconds)

    def _keep(self) -> None:
        while not self._stopped.wait(self._seconds / _RENEWALS_PER_LEASE):
            try:
                if not self._is_to_go_on():
                    return
            except DBAPIError:
                continue

    def _is_to_go_on(self) -> bool:
        with self._engine.begin() as connection:
            standing = renew(connection, self._token, seconds=self._seconds)
        if standing is Standing.OVERDUE:
            self._on_overdue()
        return standing is Standing.HELD
