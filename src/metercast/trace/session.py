"""One session written down: every frame, readable, and the same octets as a pcap."""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from typing import Final

from metercast.capture.dialogue import Dialogue
from metercast.capture.packets import Endpoint
from metercast.capture.writing import ConnectionCapture
from metercast.dlms.deciphering import Keys
from metercast.dlms.describe import Description
from metercast.dlms.link import Link
from metercast.dlms.settings import AssociationSettings, Protection
from metercast.driver.transport import TcpTransport, Transport
from metercast.trace.directory import TraceDirectory, TraceFiles
from metercast.trace.line import TracedLink, TracedTransport

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNKNOWN: Final = ("0.0.0.0", 0)  # noqa: S104

_log = logging.getLogger(__name__)


class SessionTrace:
    """Implements driver.tracing.SessionTracer. What goes wrong with the files ends the trace, never the session."""

    def __init__(
        self, directory: TraceDirectory, files: TraceFiles, title: str, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._directory = directory
        self._files: TraceFiles | None = files
        self._clock = clock
        self._has_header = False
        self._is_full = False
        self.name = files.name
        self.note(title)

    def listen(
        self, transport: Transport, link: Link, twin: Link, settings: AssociationSettings
    ) -> tuple[Transport, Link]:
        self.note(_settings_text(settings))
        traced = TracedLink(link, twin)
        return TracedTransport(transport, self._connection(transport, settings), traced), traced

    def listen_plain(self, transport: Transport) -> Transport:
        """For octets that are known to hold no secret."""
        return TracedTransport(transport, self._connection(transport, None))

    def note(self, text: str) -> None:
        self.write([text])

    def end(self, text: str) -> None:
        self.note(text)
        files, self._files = self._files, None
        if files is not None:
            try:
                self._directory.end(files)
            except OSError as error:
                _log.warning("trace %s: %s", self.name, error.strerror)

    def write(self, lines: Sequence[str]) -> None:
        """The first with the time; the others belong to it."""
        now = self._clock()

        def put(files: TraceFiles) -> None:
            moment = (_EPOCH + timedelta(microseconds=now // 1000)).isoformat(sep=" ", timespec="microseconds")
            text = "\n  ".join(_printable(line) for line in lines)
            files.log.write(f"{moment.removesuffix('+00:00')} {text}\n".encode())

        self.record(put)

    def record(self, put: Callable[[TraceFiles], None]) -> None:
        """Nothing more once the files are full or can't be written."""
        files = self._files
        if files is None or self._is_full:
            return
        try:
            put(files)
            if files.is_full:
                self._is_full = True
                files.log.write(f"the limit of {files.limit} octets is reached; the rest is not traced\n".encode())
        except Exception as error:  # a trace must never end a session
            self._is_full = True
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            _log.warning("trace %s ends: %s", self.name, reason)

    def _connection(self, transport: Transport, settings: AssociationSettings | None) -> "_Connection":
        ends = transport.ends if isinstance(transport, TcpTransport) else None
        client, meter = (_endpoint(end) for end in ends or (_UNKNOWN, _UNKNOWN))
        self.note(f"connected: {client} > {meter}")
        keys = _keys(settings) if settings is not None else []
        connection = _Connection(self, client, meter, keys, self._clock, with_header=not self._has_header)
        self._has_header = True
        return connection


class _Connection:
    """Implements line.Recorder."""

    def __init__(
        self,
        trace: SessionTrace,
        client: Endpoint,
        meter: Endpoint,
        keys: Sequence[Keys],
        clock: Callable[[], int],
        *,
        with_header: bool,
    ) -> None:
        self._trace = trace
        self._clock = clock
        self._dialogue = Dialogue(keys)
        self._is_closed = False
        self._capture: ConnectionCapture | None = None

        def begin(files: TraceFiles) -> None:
            self._capture = ConnectionCapture(files.pcap, client, meter, with_header=with_header)
            self._capture.opened(clock())

        trace.record(begin)

    def sent(self, octets: bytes) -> None:
        self._said(octets, by_client=True)

    def received(self, octets: bytes) -> None:
        self._said(octets, by_client=False)

    def closed(self, *, by_client: bool, broken: bool) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        for direction in (True, False):
            self._frames(direction, partial(self._dialogue.flush, direction))
        who = "we" if by_client else "the meter"
        self._trace.note(f"{who} {'broke off' if broken else 'closed'} the connection")
        capture, now = self._capture, self._clock()
        if capture is not None and broken:
            self._trace.record(lambda files: capture.broken(now, by_client=by_client))
        elif capture is not None:
            self._trace.record(lambda files: capture.closed(now, by_client=by_client))

    def _said(self, octets: bytes, *, by_client: bool) -> None:
        capture, now = self._capture, self._clock()
        if capture is not None:
            self._trace.record(lambda files: capture.said(now, octets, by_client=by_client))
        self._trace.note(f"{'>' if by_client else '<'} {len(octets)} octets")
        self._frames(by_client, lambda: self._dialogue.feed(by_client, octets))

    def _frames(self, by_client: bool, frames: Callable[[], list[Description]]) -> None:
        """Inside `record`: what can't be described must not end the session either."""

        def put(files: TraceFiles) -> None:
            for frame in frames():
                first, *rest = frame.lines()
                self._trace.write([f"{'>' if by_client else '<'} {first}", *rest])

        self._trace.record(put)


def _keys(settings: AssociationSettings) -> list[Keys]:
    if settings.encryption_key is None or settings.authentication_key is None:
        return []
    titles = settings.client_system_title, settings.server_system_title
    return [Keys(settings.encryption_key, settings.authentication_key, *titles)]


def _settings_text(settings: AssociationSettings) -> str:
    """No secret is in it."""
    protection = "" if settings.protection is Protection.NONE else f", protection {settings.protection.value}"
    return (
        f"association of client {settings.client_sap} with server {settings.server_sap}: "
        f"authentication {settings.authentication.value}{protection}"
    )


def _endpoint(end: tuple[str, int]) -> Endpoint:
    try:
        return Endpoint(ip_address(end[0]), end[1])
    except ValueError:  # no address of IP
        return Endpoint(ip_address(_UNKNOWN[0]), end[1])


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
