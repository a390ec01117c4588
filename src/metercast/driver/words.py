"""The meter's answers in the record's words (catalogue 2.8 and 2.9)."""

from enum import IntEnum

from metercast.dlms.acse import AssociationResult, DiagnosticSource, UserDiagnostic
from metercast.dlms.events import Rejected
from metercast.dlms.service_error import ConfirmedServiceError, ExceptionResponse, ServiceErrorCode, StateError
from metercast.domain.words import ErrorWord

# Data-access-result and action-result share their codes.
_RESULTS = {
    1: ErrorWord.HARDWARE_FAULT,
    2: ErrorWord.TEMPORARY_FAILURE,
    3: ErrorWord.READ_WRITE_DENIED,
    4: ErrorWord.OBJECT_UNDEFINED,
    9: ErrorWord.OBJECT_UNDEFINED,
    11: ErrorWord.OBJECT_UNAVAILABLE,
    12: ErrorWord.TYPE_UNMATCHED,
    13: ErrorWord.SCOPE_OF_ACCESS_VIOLATED,
    14: ErrorWord.TRANSFER_ABORTED,
    15: ErrorWord.TRANSFER_ABORTED,
    16: ErrorWord.TRANSFER_ABORTED,
    17: ErrorWord.TRANSFER_ABORTED,
    18: ErrorWord.TRANSFER_ABORTED,
    19: ErrorWord.TRANSFER_ABORTED,
}

_EXCEPTIONS: dict[int, ErrorWord] = {
    ServiceErrorCode.SERVICE_NOT_SUPPORTED: ErrorWord.SERVICE_NOT_SUPPORTED,
    ServiceErrorCode.PDU_TOO_LONG: ErrorWord.PDU_TOO_LONG,
    ServiceErrorCode.DECIPHERING_ERROR: ErrorWord.AUTHENTICATION_FAILED,
    ServiceErrorCode.INVOCATION_COUNTER_ERROR: ErrorWord.INVOCATION_COUNTER_ERROR,
}

_STATES: dict[int, ErrorWord] = {
    # The association is gone; the service was not carried out.
    StateError.SERVICE_NOT_ALLOWED: ErrorWord.TEMPORARY_FAILURE,
    StateError.SERVICE_UNKNOWN: ErrorWord.SERVICE_NOT_SUPPORTED,
}

# By kind of error, then by code; None is every other code of the kind.
_SERVICE_ERRORS: dict[int, dict[int | None, ErrorWord]] = {
    0: {6: ErrorWord.AUTHENTICATION_FAILED, 4: ErrorWord.ASSOCIATION_REJECTED, 1: ErrorWord.TEMPORARY_FAILURE},
    1: {None: ErrorWord.TEMPORARY_FAILURE},
    2: {None: ErrorWord.TEMPORARY_FAILURE},
    3: {1: ErrorWord.PDU_TOO_LONG, 2: ErrorWord.SERVICE_NOT_SUPPORTED},
    4: {None: ErrorWord.OBJECT_UNDEFINED},
    5: {
        1: ErrorWord.SCOPE_OF_ACCESS_VIOLATED,
        2: ErrorWord.READ_WRITE_DENIED,
        3: ErrorWord.HARDWARE_FAULT,
        4: ErrorWord.OBJECT_UNAVAILABLE,
    },
    6: {None: ErrorWord.ASSOCIATION_REJECTED},
}

# Context or mechanism: permanent, whatever the result says.
_CONFIGURATION = frozenset(
    {
        UserDiagnostic.APPLICATION_CONTEXT_NAME_NOT_SUPPORTED,
        UserDiagnostic.AUTHENTICATION_MECHANISM_NAME_NOT_RECOGNISED,
        UserDiagnostic.AUTHENTICATION_MECHANISM_NAME_REQUIRED,
    }
)


def result_word(code: int) -> ErrorWord:
    """The word of a data-access-result or action-result that is no success."""
    return _RESULTS.get(code, ErrorWord.OTHER_REASON)


def exception_word(response: ExceptionResponse) -> ErrorWord:
    word = _EXCEPTIONS.get(response.service) or _STATES.get(response.state)
    return word or ErrorWord.OTHER_REASON


def service_error_word(error: ConfirmedServiceError) -> ErrorWord:
    codes = _SERVICE_ERRORS.get(error.kind, {})
    return codes.get(error.code) or codes.get(None) or ErrorWord.OTHER_REASON


def rejection_word(rejection: Rejected) -> ErrorWord:
    """The word of a rejected association.

    Only what says that it will pass is MeterBusy. "Rejected permanently, no reason given" may hide a wrong password,
    and meters lock out, so it is not tried again.
    """
    if rejection.service_error is not None:
        return service_error_word(rejection.service_error)
    if rejection.diagnostic_source == DiagnosticSource.SERVICE_PROVIDER:
        return ErrorWord.ASSOCIATION_REJECTED
    if rejection.diagnostic == UserDiagnostic.AUTHENTICATION_FAILURE:
        return ErrorWord.AUTHENTICATION_FAILED
    if rejection.result == AssociationResult.REJECTED_TRANSIENT and rejection.diagnostic not in _CONFIGURATION:
        return ErrorWord.METER_BUSY
    return ErrorWord.ASSOCIATION_REJECTED


def rejection_text(rejection: Rejected) -> str:
    """Result and diagnostic by their names, for people."""
    result = _label(AssociationResult, rejection.result)
    if rejection.diagnostic_source == DiagnosticSource.SERVICE_USER:
        diagnostic = _label(UserDiagnostic, rejection.diagnostic)
    else:
        diagnostic = f"acse-service-provider {rejection.diagnostic}"
    error = "" if rejection.service_error is None else f", {rejection.service_error}"
    return f"{result}, {diagnostic}{error}"


def _label(codes: type[IntEnum], code: int) -> str:
    try:
        return f"{codes(code).name.lower().replace('_', '-')} ({code})"
    except ValueError:
        return str(code)
