"""From what was raised on the way to a meter to the word of the record (catalogue 2.9)."""

import errno
import socket
from typing import NamedTuple

from metercast.commands.contract import MeterRefused, StepFailed
from metercast.dlms.errors import (
    CountersExhausted,
    DlmsError,
    DowngradeError,
    IdentityError,
    LinkRefused,
    NotNegotiated,
    RemoteProtocolError,
    ReplayError,
    RequestTooLong,
    SecurityError,
    TooLongError,
)
from metercast.dlms.results import ActionResultCode, DataAccessResult
from metercast.domain.words import ErrorWord, SecurityEvent
from metercast.driver.errors import PeerClosed, TimedOut, TransportError
from metercast.driver.words import result_word

# The most specific first.
_WORDS: tuple[tuple[type[Exception], ErrorWord], ...] = (
    (TimedOut, ErrorWord.TIMEOUT),
    (PeerClosed, ErrorWord.CONNECTION_LOST),
    (TransportError, ErrorWord.CONNECTION_LOST),
    (IdentityError, ErrorWord.IDENTITY_MISMATCH),
    (SecurityError, ErrorWord.SECURITY_VIOLATION),
    (LinkRefused, ErrorWord.CONNECTION_LOST),
    (TooLongError, ErrorWord.INVALID_RESPONSE),
    (RemoteProtocolError, ErrorWord.INVALID_RESPONSE),
    (CountersExhausted, ErrorWord.INVOCATION_COUNTER_ERROR),
    (RequestTooLong, ErrorWord.PDU_TOO_LONG),
    (NotNegotiated, ErrorWord.SERVICE_NOT_SUPPORTED),
)


_EVENTS: tuple[tuple[type[SecurityError], SecurityEvent], ...] = (
    (IdentityError, SecurityEvent.IMPOSTOR),
    (DowngradeError, SecurityEvent.DOWNGRADED),
    (ReplayError, SecurityEvent.REPLAYED),
    (SecurityError, SecurityEvent.FORGED),
)


class Step(NamedTuple):
    """What is under way: a service and the object it is for. Written out only where something fails."""

    service: str
    target: object = ""

    def __str__(self) -> str:
        return f"{self.service} {self.target}".rstrip()


ASSOCIATE = Step("AARQ")
LINK = Step("opening the link")
WAIT = Step("waiting")


def failure_of(error: TransportError | DlmsError, what: Step) -> StepFailed:
    """The failed step; `what` is the request that was under way."""
    word = next((word for kind, word in _WORDS if isinstance(error, kind)), ErrorWord.INTERNAL_ERROR)
    return StepFailed(word, f"{what}: {error}")


def event_of(error: SecurityError) -> SecurityEvent:
    """What it is an alarm about."""
    return next(event for kind, event in _EVENTS if isinstance(error, kind))


def refused_by(what: Step, result: DataAccessResult | ActionResultCode | None) -> MeterRefused:
    """The meter answered with a result that is no success."""
    code = DataAccessResult.OTHER_REASON if result is None else result
    return MeterRefused(result_word(int(code)), f"{what}: {code.label} ({int(code)})")


def unexpected(what: Step, event: object) -> StepFailed:
    """The meter answered with what answers another service."""
    return StepFailed(ErrorWord.INVALID_RESPONSE, f"{what}: answered with {type(event).__name__}")


def connect_failure(error: OSError | ValueError, where: str) -> StepFailed:
    """Refused is one word, and everything else that keeps a connection from opening is another."""
    if not isinstance(error, OSError):  # what encoding a host name raises
        return StepFailed(ErrorWord.UNREACHABLE, f"{where}: not a host name")
    if _is_refused(error):
        return StepFailed(ErrorWord.CONNECTION_REFUSED, f"{where} refused the connection")
    if isinstance(error, socket.gaierror):
        return StepFailed(ErrorWord.UNREACHABLE, f"{where}: the name has no address ({error.strerror})")
    if isinstance(error, TimeoutError):
        return StepFailed(ErrorWord.UNREACHABLE, f"{where}: no answer to connect")
    reason = errno.errorcode.get(error.errno, "") if error.errno else ""
    return StepFailed(ErrorWord.UNREACHABLE, f"{where}: {reason or 'no connection'}: {error.strerror or error}"[:300])


def _is_refused(error: OSError) -> bool:
    """asyncio joins what several addresses of a name said into one OSError without a number."""
    return isinstance(error, ConnectionRefusedError) or (
        error.errno is None and f"[Errno {errno.ECONNREFUSED}]" in str(error)
    )
