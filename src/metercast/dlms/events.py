"""What the client's association makes of the bytes it received."""

import msgspec

from metercast.dlms.data import Data
from metercast.dlms.notification import Notification
from metercast.dlms.results import ActionResultCode, DataAccessResult
from metercast.dlms.service_error import ConfirmedServiceError, ExceptionResponse


class Send(msgspec.Struct, frozen=True):
    """Not done yet: this APDU must follow, and then, without waiting for an answer, `more` where there are any."""

    apdu: bytes
    more: tuple[bytes, ...] = ()


class Waiting(msgspec.Struct, frozen=True):
    """Not done yet: one of several general blocks came; the server goes on by itself."""


class Ignored(msgspec.Struct, frozen=True):
    """An APDU that answers nothing that was asked; the wait goes on."""

    reason: str


class Notified(msgspec.Struct, frozen=True):
    """The server told something by itself, protected as the association demands; the wait goes on."""

    notification: Notification


class Associated(msgspec.Struct, frozen=True):
    """The association is open; with HLS only after the server proved itself.

    `conformance` is what both sides offer; `server_max_receive_pdu_size` 0 means without limit.
    """

    conformance: int
    server_max_receive_pdu_size: int
    server_system_title: bytes | None


class Rejected(msgspec.Struct, frozen=True):
    """The server refused the association, or our proof in pass 3 (then diagnostic 13); codes in `acse`."""

    result: int
    diagnostic_source: int
    diagnostic: int
    service_error: ConfirmedServiceError | None = None


class GetResult(msgspec.Struct, frozen=True):
    """The data, or the reason why there is none."""

    data: Data | None
    error: DataAccessResult | None = None


class SetResult(msgspec.Struct, frozen=True):
    """`error` None: written."""

    error: DataAccessResult | None = None


class ActionResult(msgspec.Struct, frozen=True):
    """The method's result, and what it returned or why it returned nothing."""

    result: ActionResultCode
    data: Data | None = None
    data_error: DataAccessResult | None = None


class GetListResult(msgspec.Struct, frozen=True):
    """One result for each attribute, in the order asked for."""

    results: list[GetResult]


class SetListResult(msgspec.Struct, frozen=True):
    results: list[SetResult]


class ActionListResult(msgspec.Struct, frozen=True):
    results: list[ActionResult]


class AccessResult(msgspec.Struct, frozen=True):
    """One result for each item; `time` is the server's date-time of twelve octets, or empty."""

    time: bytes
    results: list[GetResult | SetResult | ActionResult]


class ServiceError(msgspec.Struct, frozen=True):
    """The server refused the service with a confirmed-service-error."""

    error: ConfirmedServiceError


class Released(msgspec.Struct, frozen=True):
    reason: int | None = None


Event = (
    Send
    | Waiting
    | Ignored
    | Notified
    | Associated
    | Rejected
    | GetResult
    | SetResult
    | ActionResult
    | GetListResult
    | SetListResult
    | ActionListResult
    | AccessResult
    | ExceptionResponse
    | ServiceError
    | Released
)
