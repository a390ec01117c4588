"""A large body, as it comes: bounded in size and in time."""

import asyncio
from collections.abc import AsyncIterator

from metercast.web.context import HttpRequest
from metercast.web.problems import ContentTooLarge, Gone, RequestTimeout

IDLE_SECONDS = 60.0
TOTAL_SECONDS = 3600.0


async def upload(request: HttpRequest, limit: int, setting: str = "METERCAST_STREAM_LIMIT") -> AsyncIterator[bytes]:
    """The body's chunks, none of them empty. Raises ContentTooLarge; RequestTimeout where nothing comes for a while,
    or it takes too long in all; Gone where it breaks off. `setting` is what the limit comes from."""
    if (request.content_length or 0) > limit:
        raise _too_large(limit, setting)
    received = 0
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + TOTAL_SECONDS
    more = True
    while more:
        try:
            async with asyncio.timeout_at(min(loop.time() + IDLE_SECONDS, ends_at)):
                message = await request.receive()
        except TimeoutError:
            raise RequestTimeout(
                f"nothing more came for {IDLE_SECONDS:g} s, or the body took longer than {TOTAL_SECONDS:g} s"
            ) from None
        if message["type"] != "http.request":
            raise Gone("the body broke off")
        chunk, more = message["body"], message.get("more_body", False)
        received += len(chunk)
        if received > limit:
            raise _too_large(limit, setting)
        if chunk:
            yield chunk


def _too_large(limit: int, setting: str) -> ContentTooLarge:
    return ContentTooLarge(f"the body is larger than {limit} octets, which is {setting}")
