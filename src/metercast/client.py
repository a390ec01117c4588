"""A client of the HTTP API, for the command line and the demo. Documents come and go as plain JSON values."""

import os
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx
import msgspec

Json = dict[str, Any]
Query = Mapping[str, str | int | None]

TIMEOUT_SECONDS = 60.0
CONNECT_SECONDS = 10.0
LARGE_TASK_SECONDS = 600.0  # a million devices take a store some time
CSV = "text/csv"
NDJSON = "application/x-ndjson"
_SHOWN = 200


class ApiError(Exception):
    """A call did not come to its answer; the text is one line for people."""


class Refused(ApiError):
    """The server said no. `document` is its problem document, empty where it sent none."""

    def __init__(self, status: int, detail: str, document: Json) -> None:
        super().__init__(detail)
        self.status = status
        self.document = document


class NotReached(ApiError):
    """There was no answer: refused, unknown host, TLS, timeout."""


class NotUnderstood(ApiError):
    """Something answered that is no Metercast."""


class _Document(dict[str, Any]):
    """An answer; what every answer has and this one lacks is told as the server's fault."""

    def __init__(self, fields: Json, url: str) -> None:
        super().__init__(fields)
        self._url = url

    def __missing__(self, name: str) -> Any:
        raise NotUnderstood(f"{self._url} is no Metercast, or another version: its answer lacks {name!r}")


class Api:
    """One server. Use it as an async context manager.

    `key` is an API key, `ca_file` the certificates to trust in place of the system's. ValueError for a URL that is
    none, and for a key that would travel unencrypted to another machine unless `allow_http`.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        ca_file: Path | None = None,
        allow_http: bool = False,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        local = _check_url(url, may_send_key=key is None or allow_http)
        self.url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        headers = {"Accept": "application/json"}
        if key is not None:
            if not (key.isascii() and key.isprintable()):
                raise ValueError("the API key holds characters that no key has")
            headers["Authorization"] = f"Bearer {key}"
        self._http = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(timeout_seconds, connect=CONNECT_SECONDS),
            verify=_trust(ca_file) if url.startswith("https") else False,
            trust_env=not local,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    # Tasks

    async def submit(self, document: Json, idempotency_key: str | None = None) -> Json:
        """The new task, without its devices."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return await self._call("POST", "/tasks", body=document, headers=headers)

    async def submit_lines(self, header: Json, lines: Iterable[bytes], idempotency_key: str | None = None) -> Json:
        """The new task, without its devices. `lines` are its devices as NDJSON, in pieces of any size; what is read
        of them is sent at once. `header` is the task without them."""

        async def body() -> AsyncIterator[bytes]:
            yield msgspec.json.encode(header) + b"\n"
            for piece in lines:
                yield piece

        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        sent = {"Content-Type": NDJSON, **headers}
        return await self._call("POST", "/tasks", content=body(), headers=sent, seconds=LARGE_TASK_SECONDS)

    async def act(self, task_id: str, action: str) -> Json:
        """cancel, pause, resume or retry-failed; the task as it is then, or the new one."""
        return await self._call("POST", f"/tasks/{encoded(task_id)}/{action}")

    async def tasks(self, query: Query) -> Json:
        """A page: `tasks` and `nextCursor`."""
        return await self._call("GET", "/tasks", query=query)

    async def task(self, task_id: str) -> Json:
        """Without its devices."""
        return await self._call("GET", f"/tasks/{encoded(task_id)}", query={"devices": "false"})

    async def stream_task(self, task_id: str) -> AsyncIterator[bytes]:
        """The whole document as the server sends it, piece by piece."""
        async for piece in self._stream(f"/tasks/{encoded(task_id)}"):
            yield piece

    async def stream_results(self, task_id: str) -> AsyncIterator[bytes]:
        """NDJSON as the server sends it: a line a device, with its result."""
        async for piece in self._stream(f"/tasks/{encoded(task_id)}/results"):
            yield piece

    async def _stream(self, path: str) -> AsyncIterator[bytes]:
        try:
            async with self._http.stream("GET", f"{self.url}{path}") as response:
                if response.status_code != 200:
                    _answer(response.status_code, await response.aread(), self.url)
                async for piece in response.aiter_bytes():
                    yield piece
        except httpx.HTTPError as error:
            raise self._not_reached(error) from error

    async def errors(self, task_id: str) -> list[Json]:
        """`commandStatus`, `error` and how many `devices`, most first."""
        errors: list[Json] = (await self._call("GET", f"/tasks/{encoded(task_id)}/errors"))["errors"]
        return errors

    async def task_devices(self, task_id: str, query: Query) -> AsyncIterator[Json]:
        """Every device of the task that the query asks for, page by page."""
        async for each in self._pages(f"/tasks/{encoded(task_id)}/devices", query, "devices"):
            yield each

    async def task_device(self, task_id: str, device_id: str) -> Json:
        """With its attempts and its result."""
        return await self._call("GET", f"/tasks/{encoded(task_id)}/devices/{encoded(device_id)}")

    async def retention(self, older_than_days: int | None) -> Json:
        """`retentionDays`, `endedBefore` and how many `tasks` that is."""
        return await self._call("GET", "/retention", query={"olderThanDays": older_than_days})

    async def delete_ended(self, older_than_days: int) -> Json:
        """How many `tasks` were deleted, and whether there are `more`."""
        return await self._call("POST", "/retention/delete", body={"olderThanDays": older_than_days})

    async def start_trace(self, wish: Json) -> Json:
        """`wish` names `devices`, a `taskId` or an `idempotencyKey`; see POST /traces."""
        return await self._call("POST", "/traces", body=wish)

    async def traces(self) -> list[Json]:
        found: list[Json] = (await self._call("GET", "/traces"))["traces"]
        return found

    async def stop_trace(self, trace_id: str) -> Json:
        return await self._call("DELETE", f"/traces/{encoded(trace_id)}")

    # Devices

    async def put_device(self, device_id: str, record: Json) -> Json:
        return await self._call("PUT", f"/devices/{encoded(device_id)}", body=record)

    async def device(self, device_id: str) -> Json:
        return await self._call("GET", f"/devices/{encoded(device_id)}")

    async def devices(self, query: Query) -> AsyncIterator[Json]:
        async for each in self._pages("/devices", query, "devices"):
            yield each

    async def delete_device(self, device_id: str) -> None:
        await self._call("DELETE", f"/devices/{encoded(device_id)}")

    async def import_devices(self, lines: bytes, media_type: str) -> Json:
        """All of them or none: `lines`, `created`, `updated`. Refused names the lines that will not do."""
        return await self._call("POST", "/devices/import", content=lines, headers={"Content-Type": media_type})

    async def import_secrets(self, lines: bytes, media_type: str) -> Json:
        """As `import_devices`, of secrets alone: for meters that are registered, whose records stay."""
        sent, only = {"Content-Type": media_type}, {"only": "secrets"}
        return await self._call("POST", "/devices/import", query=only, content=lines, headers=sent)

    # Images

    async def put_image(self, name: str, octets: AsyncIterator[bytes], sha256: str) -> Json:
        """The image as it is known. Refused where what came does not hash to `sha256`."""
        sent = {"Content-Type": "application/octet-stream"}
        path, query = f"/images/{encoded(name)}", {"sha256": sha256}
        return await self._call("PUT", path, query=query, content=octets, headers=sent, seconds=LARGE_TASK_SECONDS)

    async def images(self) -> list[Json]:
        images: list[Json] = (await self._call("GET", "/images"))["images"]
        return images

    async def delete_image(self, name: str) -> None:
        await self._call("DELETE", f"/images/{encoded(name)}")

    # Keys

    async def create_key(self, name: str, role: str) -> Json:
        """`key` is the key itself, this once."""
        return await self._call("POST", "/keys", body={"name": name, "role": role})

    async def keys(self) -> list[Json]:
        keys: list[Json] = (await self._call("GET", "/keys"))["keys"]
        return keys

    async def revoke_key(self, key_id: str) -> Json:
        return await self._call("DELETE", f"/keys/{encoded(key_id)}")

    async def ready(self) -> None:
        """Raises NotReached or Refused where the server is not ready for work."""
        await self._call("GET", "/readyz")

    # The calls themselves

    async def _pages(self, path: str, query: Query, field: str) -> AsyncIterator[Json]:
        page = await self._call("GET", path, query=query)
        while True:
            for each in page[field]:
                yield each
            if page["nextCursor"] is None:
                return
            page = await self._call("GET", path, query={**query, "cursor": page["nextCursor"]})

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Json | None = None,
        content: bytes | AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> Json:
        timeout = httpx.Timeout(max(seconds or 0.0, self._timeout_seconds), connect=CONNECT_SECONDS)
        sent = dict(headers or {})
        if body is not None:
            content = msgspec.json.encode(body)
            sent["Content-Type"] = "application/json"
        try:
            response = await self._http.request(
                method, self.url + path, params=_given(query), content=content, headers=sent, timeout=timeout
            )
        except (httpx.HTTPError, OSError) as error:
            raise self._not_reached(error, timeout.read) from error
        if response.status_code == 204:
            return {}
        return _answer(response.status_code, response.content, self.url)

    def _not_reached(self, error: Exception, seconds: float | None = None) -> NotReached:
        if isinstance(error, httpx.ConnectTimeout):
            return NotReached(f"cannot connect to {self.url} within {CONNECT_SECONDS:g} s")
        if isinstance(error, httpx.TimeoutException):
            return NotReached(f"no answer from {self.url} within {seconds or self._timeout_seconds:g} s")
        if isinstance(error, httpx.ConnectError | OSError):
            return NotReached(f"cannot connect to {self.url}: {_reason(error)}")
        return NotReached(f"the connection to {self.url} broke off: {_reason(error)}")


def encoded(identifier: str) -> str:
    """An id as one segment of a path; ValueError where it is not printable text."""
    if not identifier or not identifier.isprintable():
        raise ValueError(f"no id: {identifier[:_SHOWN]!r}")
    # A segment of dots would be taken for a step in the path.
    return quote(identifier, safe="") if identifier.strip(".") else identifier.replace(".", "%2E")


def _check_url(url: str, *, may_send_key: bool) -> bool:
    """Whether the server is on this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{url[:_SHOWN]!r} is no URL: {error}") from None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise ValueError(f"{url[:_SHOWN]!r} is no server's URL, as in http://127.0.0.1:8080")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the server's URL must not hold a user or a password")
    local = _is_loopback(host)
    if parts.scheme == "http" and not local and not may_send_key:
        raise ValueError(f"the API key would go to {host} unencrypted: use https, or allow it with --allow-http")
    return local


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"cannot use the certificates in {ca_file}: {error}") from None


def _given(query: Query | None) -> dict[str, str | int]:
    return {name: value for name, value in (query or {}).items() if value is not None}


def _answer(status: int, content: bytes, url: str) -> Json:
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = None
    if not isinstance(document, dict):
        raise NotUnderstood(f"{url} answered {status}, and not as Metercast does: is it the right address?")
    if status >= 400:
        raise Refused(status, str(document.get("detail") or document.get("title") or f"status {status}"), document)
    return _Document(document, url)


def _reason(error: BaseException) -> str:
    """The innermost reason that says anything, in one line."""
    reasons: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and len(reasons) < 10:
        reasons.append(seen)
        seen = seen.__cause__ or seen.__context__
    for each in reversed(reasons):
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"TLS: {each.verify_message}"
        if isinstance(each, ssl.SSLError):
            return f"TLS: {each.reason or each}"
        if isinstance(each, OSError) and each.strerror:
            # What asyncio says of itself beside the number is no news; a name service's number is none of errno.
            return os.strerror(each.errno) if each.errno and each.errno > 0 else each.strerror
    return " ".join(str(error).split())[:_SHOWN] or type(error).__name__
