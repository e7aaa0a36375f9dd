"""Calls providers from many threads: one private loop in a thread of its own owns the connections.

A call has a time-out for the whole of it and is repeated once, after a short pause, where that may help.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError
from dataclasses import replace
from math import ceil
from threading import Lock, Thread
from typing import TypeVar

from neural_pipeline.models.language import Trouble
from neural_pipeline.models.troubles import Failing

T = TypeVar("T")
Attempt = Callable[[], Coroutine[object, object, T]]

_USUAL_PAUSE = 0.5
_GRACE = 2.0
"""Seconds for which a call that was ended is given to end."""


class Caller:
    """Runs the calls of one model; safe to use from several threads at once. `release` closes its connections."""

    def __init__(
        self,
        explain: Callable[[Exception], Failing],
        *,
        name: str,
        timeout: float,
        retry_after: float,
        release: Callable[[], Awaitable[None]],
    ) -> None:
        self._explain, self._name, self._release = explain, name, release
        self._timeout, self._retry_after = timeout, retry_after
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def call(self, attempt: Attempt[T]) -> T | Failing:
        """Return what an attempt returns, or how it has failed."""
        loop = self._running_loop()
        if loop is None:
            return self._failing(Trouble.UNAVAILABLE, "the model was closed")
        future = asyncio.run_coroutine_threadsafe(self._in_time(attempt), loop)
        try:
            return future.result(self._timeout + _GRACE)
        except TimeoutError:
            return self._failing(Trouble.TIMED_OUT, f"no answer within {self._timeout:g} s")
        except CancelledError:
            return self._failing(Trouble.UNAVAILABLE, "the model was closed")
        finally:
            # A thread that is interrupted (the run is cancelled) takes its call with it.
            future.cancel()

    def close(self) -> None:
        """End the calls that are going on, the connections and the thread."""
        with self._lock:
            self._closed, loop, self._loop = True, self._loop, None
        if loop is not None:
            asyncio.run_coroutine_threadsafe(self._wind_up(), loop).result(self._timeout + _GRACE)
            loop.call_soon_threadsafe(loop.stop)

    def _running_loop(self) -> asyncio.AbstractEventLoop | None:
        with self._lock:
            if self._loop is None and not self._closed:
                self._loop = asyncio.new_event_loop()
                Thread(target=_keep_running, args=(self._loop,), name=f"calls of {self._name}", daemon=True).start()
            return self._loop

    async def _wind_up(self) -> None:
        calls = asyncio.all_tasks() - {asyncio.current_task()}
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await self._release()

    async def _in_time(self, attempt: Attempt[T]) -> T | Failing:
        try:
            async with asyncio.timeout(self._timeout) as limit:
                return await self._at_most_twice(attempt, until=limit.when() or 0.0)
        except TimeoutError:
            return self._failing(Trouble.TIMED_OUT, f"no answer within {self._timeout:g} s")

    async def _at_most_twice(self, attempt: Attempt[T], *, until: float) -> T | Failing:
        first = await self._once(attempt)
        if not isinstance(first, Failing) or not first.passing:
            return first
        pause = min(_USUAL_PAUSE, self._retry_after) if first.retry_after is None else first.retry_after
        if pause > self._retry_after:
            waits = f"it asks to wait {ceil(pause)} s, more than the {self._retry_after:g} s that are waited"
            return replace(first, message=f"{first.message}; not tried again: {waits}")
        if asyncio.get_running_loop().time() + pause >= until:
            return replace(first, message=f"{first.message}; no time left to try again")
        await asyncio.sleep(pause)
        return await self._once(attempt)

    async def _once(self, attempt: Attempt[T]) -> T | Failing:
        try:
            return await attempt()
        except Exception as error:
            # Explained here, whatever it is: requests, and keys in them, stand in its history.
            return self._explain(error)

    def _failing(self, trouble: Trouble, what: str) -> Failing:
        return Failing(trouble, f"{self._name}: {what}")


def _keep_running(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()
