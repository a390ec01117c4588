"""What the engine does when the store is away, or when a fault of its own shows: it tells, rests and goes on."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog

from metercast.store.errors import StoreUnavailable

log = structlog.get_logger()

T = TypeVar("T")

REST_SECONDS = 1.0
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 5.0


def tell(where: str, error: Exception) -> None:
    """One line for a store that is away; the traceback of anything else."""
    if isinstance(error, StoreUnavailable):
        log.warning("engine.store_unavailable", where=where, error=error.detail)
    else:
        log.error("engine.internal_error", where=where, exc_info=error)


async def again(loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a loop for ever: what fails in one pass is told and does not end it."""
    while True:
        try:
            await loop()
        except Exception as error:
            tell(loop.__name__, error)
        await asyncio.sleep(REST_SECONDS)


async def until_stored(call: Callable[[], Awaitable[T]]) -> T:
    """Calls until the store takes it, with a growing delay; any other error comes through."""
    delay = _FIRST_DELAY
    while True:
        try:
            return await call()
        except StoreUnavailable as error:
            tell("until_stored", error)
        await asyncio.sleep(delay)
        delay = min(delay * 2, _LONGEST_DELAY)
