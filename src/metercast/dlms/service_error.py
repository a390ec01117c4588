"""Answers that refuse a service as a whole: exception-response and confirmed-service-error (catalogue 2.8)."""

from enum import IntEnum

import msgspec

from metercast.dlms.axdr import expect_end
from metercast.dlms.errors import DecodeError

EXCEPTION_RESPONSE = 0xD8
CONFIRMED_SERVICE_ERROR = 0x0E


class StateError(IntEnum):
    SERVICE_NOT_ALLOWED = 1
    SERVICE_UNKNOWN = 2


class ServiceErrorCode(IntEnum):
    OPERATION_NOT_POSSIBLE = 1
    SERVICE_NOT_SUPPORTED = 2
    OTHER_REASON = 3
    PDU_TOO_LONG = 4
    DECIPHERING_ERROR = 5
    INVOCATION_COUNTER_ERROR = 6


class ExceptionResponse(msgspec.Struct, frozen=True):
    """`state` and `service` as codes, since meters also use codes of their own; the counter comes with code 6."""

    state: int
    service: int
    invocation_counter: int | None = None

    def encode(self) -> bytes:
        counter = b"" if self.invocation_counter is None else self.invocation_counter.to_bytes(4, "big")
        return bytes((EXCEPTION_RESPONSE, self.state, self.service)) + counter

    def __str__(self) -> str:
        counter = "" if self.invocation_counter is None else f" ({self.invocation_counter})"
        return f"{_label(StateError, self.state)}, {_label(ServiceErrorCode, self.service)}{counter}"


def decode_exception_response(apdu: bytes) -> ExceptionResponse:
    if len(apdu) not in (3, 7) or apdu[0] != EXCEPTION_RESPONSE:
        raise DecodeError(f"not an exception-response: {apdu[:8].hex()}")
    counter = None
    if len(apdu) == 7:
        if apdu[2] != ServiceErrorCode.INVOCATION_COUNTER_ERROR:
            raise DecodeError("an exception-response with a counter that its code does not have")
        counter = int.from_bytes(apdu[3:], "big")
    return ExceptionResponse(apdu[1], apdu[2], counter)


SERVICES = {1: "initiate", 5: "read", 6: "write", 19: "get", 20: "set", 21: "action"}
ERROR_KINDS: dict[int, tuple[str, tuple[str, ...]]] = {
    0: (
        "application-reference",
        (
            *("other", "time-elapsed", "application-unreachable", "application-reference-invalid"),
            *("application-context-unsupported", "provider-communication-error", "deciphering-error"),
        ),
    ),
    1: ("hardware-resource", ("other", "memory-unavailable", "processor-unavailable", "storage-unavailable")),
    2: ("vde-state-error", ("other", "no-dlms-context", "loading-data-set", "status-nochange", "status-inoperable")),
    3: ("service", ("other", "pdu-size", "service-unsupported")),
    4: ("definition", ("other", "object-undefined", "object-class-inconsistent", "object-attribute-inconsistent")),
    5: ("access", ("other", "scope-of-access-violated", "object-access-invalid", "hardware-fault", "unavailable")),
    6: (
        "initiate",
        (
            *("other", "dlms-version-too-low", "incompatible-conformance", "pdu-size-too-short"),
            "refused-by-the-vde-handler",
        ),
    ),
    7: (
        "load-data-set",
        (
            *("other", "primitive-out-of-sequence", "not-loadable", "dataset-size-too-large", "not-awaited-segment"),
            *("interpretation-failure", "storage-failure", "data-set-not-ready"),
        ),
    ),
    9: ("task", ("other", "no-remote-control", "ti-stopped", "ti-running", "ti-unusable")),
}


class ConfirmedServiceError(msgspec.Struct, frozen=True):
    """`service` that failed, the `kind` of error and its `code`; the names stand in SERVICES and ERROR_KINDS."""

    service: int
    kind: int
    code: int

    def encode(self) -> bytes:
        return bytes((CONFIRMED_SERVICE_ERROR, self.service, self.kind, self.code))

    def __str__(self) -> str:
        service = SERVICES.get(self.service, f"service {self.service}")
        kind, codes = ERROR_KINDS.get(self.kind, (f"kind {self.kind}", ()))
        code = codes[self.code] if self.code < len(codes) else f"code {self.code}"
        return f"{service}: {kind}, {code}"


def decode_confirmed_service_error(apdu: bytes) -> ConfirmedServiceError:
    if len(apdu) < 4 or apdu[0] != CONFIRMED_SERVICE_ERROR:
        raise DecodeError(f"not a confirmed-service-error: {apdu[:8].hex()}")
    expect_end(apdu, 4, "a confirmed-service-error")
    return ConfirmedServiceError(*apdu[1:4])


def _label(enum: type[IntEnum], code: int) -> str:
    try:
        return enum(code).name.lower().replace("_", "-")
    except ValueError:
        return f"code {code}"
