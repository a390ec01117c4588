"""The closed list of error words: why a device command failed or waits, and what that means for a retry."""

from enum import StrEnum


class ErrorClass(StrEnum):
    """What a word means for the next step."""

    TRANSIENT = "transient"  # try again later
    PERMANENT = "permanent"  # fail at once: trying again changes nothing
    AMBIGUOUS = "ambiguous"  # the meter may have done it: read back, then decide


class ErrorWord(StrEnum):
    """The value of `error` in the record. Prose for people goes to `errorDetail`."""

    # The way to the meter
    CONNECTION_REFUSED = "ConnectionRefused"
    UNREACHABLE = "Unreachable"
    TIMEOUT = "Timeout"
    CONNECTION_LOST = "ConnectionLost"
    # The association
    METER_BUSY = "MeterBusy"
    ASSOCIATION_REJECTED = "AssociationRejected"
    AUTHENTICATION_FAILED = "AuthenticationFailed"
    CREDENTIALS_MISSING = "CredentialsMissing"
    UNKNOWN_PROFILE = "UnknownProfile"
    IDENTITY_MISMATCH = "IdentityMismatch"
    IDENTITY_REQUIRED = "IdentityRequired"
    INVOCATION_COUNTER_ERROR = "InvocationCounterError"
    SECURITY_VIOLATION = "SecurityViolation"
    # What the meter answered
    READ_WRITE_DENIED = "ReadWriteDenied"
    OBJECT_UNDEFINED = "ObjectUndefined"
    OBJECT_UNAVAILABLE = "ObjectUnavailable"
    TYPE_UNMATCHED = "TypeUnmatched"
    SCOPE_OF_ACCESS_VIOLATED = "ScopeOfAccessViolated"
    SERVICE_NOT_SUPPORTED = "ServiceNotSupported"
    PDU_TOO_LONG = "PduTooLong"
    HARDWARE_FAULT = "HardwareFault"
    TEMPORARY_FAILURE = "TemporaryFailure"
    TRANSFER_ABORTED = "TransferAborted"
    OTHER_REASON = "OtherReason"
    INVALID_RESPONSE = "InvalidResponse"
    # What the command found
    VERIFICATION_FAILED = "VerificationFailed"
    PROFILE_LIMIT = "ProfileLimit"
    RESULT_TOO_LARGE = "ResultTooLarge"
    NOT_SWITCHABLE = "NotSwitchable"
    IMAGE_MISSING = "ImageMissing"
    CLOCK_UNCERTAIN = "ClockUncertain"
    OUTCOME_UNKNOWN = "OutcomeUnknown"
    # The task
    EXPIRED = "Expired"
    SUPERSEDED = "Superseded"
    UNKNOWN_DEVICE = "UnknownDevice"
    INTERNAL_ERROR = "InternalError"

    @property
    def error_class(self) -> ErrorClass:
        return ERROR_CLASSES[self]


class SecurityEvent(StrEnum):
    """What a meter, or someone in its place, did that only an attack or a wrong record explains."""

    DOWNGRADED = "downgraded"  # less protection than was agreed on
    REPLAYED = "replayed"  # an invocation counter that does not rise
    FORGED = "forged"  # a tag or proof that the keys do not make
    IMPOSTOR = "impostor"  # another meter than the one named


_TRANSIENT = ErrorClass.TRANSIENT
_PERMANENT = ErrorClass.PERMANENT
_AMBIGUOUS = ErrorClass.AMBIGUOUS

# Catalogue 2.8 and 2.9. Ambiguous words count as transient where the session sent nothing that changes the meter.
ERROR_CLASSES: dict[ErrorWord, ErrorClass] = {
    ErrorWord.CONNECTION_REFUSED: _TRANSIENT,
    ErrorWord.UNREACHABLE: _TRANSIENT,
    ErrorWord.TIMEOUT: _AMBIGUOUS,
    ErrorWord.CONNECTION_LOST: _AMBIGUOUS,
    ErrorWord.METER_BUSY: _TRANSIENT,
    ErrorWord.ASSOCIATION_REJECTED: _PERMANENT,
    ErrorWord.AUTHENTICATION_FAILED: _PERMANENT,
    ErrorWord.CREDENTIALS_MISSING: _PERMANENT,
    ErrorWord.UNKNOWN_PROFILE: _PERMANENT,
    ErrorWord.IDENTITY_MISMATCH: _PERMANENT,
    ErrorWord.IDENTITY_REQUIRED: _PERMANENT,
    ErrorWord.INVOCATION_COUNTER_ERROR: _TRANSIENT,
    ErrorWord.SECURITY_VIOLATION: _PERMANENT,
    ErrorWord.READ_WRITE_DENIED: _PERMANENT,
    ErrorWord.OBJECT_UNDEFINED: _PERMANENT,
    ErrorWord.OBJECT_UNAVAILABLE: _TRANSIENT,
    ErrorWord.TYPE_UNMATCHED: _PERMANENT,
    ErrorWord.SCOPE_OF_ACCESS_VIOLATED: _PERMANENT,
    ErrorWord.SERVICE_NOT_SUPPORTED: _PERMANENT,
    ErrorWord.PDU_TOO_LONG: _PERMANENT,
    ErrorWord.HARDWARE_FAULT: _PERMANENT,
    ErrorWord.TEMPORARY_FAILURE: _TRANSIENT,
    ErrorWord.TRANSFER_ABORTED: _TRANSIENT,
    ErrorWord.OTHER_REASON: _TRANSIENT,
    ErrorWord.INVALID_RESPONSE: _AMBIGUOUS,
    ErrorWord.VERIFICATION_FAILED: _PERMANENT,
    ErrorWord.PROFILE_LIMIT: _PERMANENT,
    ErrorWord.RESULT_TOO_LARGE: _PERMANENT,
    ErrorWord.NOT_SWITCHABLE: _PERMANENT,
    ErrorWord.IMAGE_MISSING: _PERMANENT,
    ErrorWord.CLOCK_UNCERTAIN: _TRANSIENT,
    ErrorWord.OUTCOME_UNKNOWN: _AMBIGUOUS,
    ErrorWord.EXPIRED: _PERMANENT,
    ErrorWord.SUPERSEDED: _PERMANENT,
    ErrorWord.UNKNOWN_DEVICE: _PERMANENT,
    ErrorWord.INTERNAL_ERROR: _PERMANENT,
}

# A late result may correct a device only where one of these words says that its end was a guess.
CORRECTABLE = frozenset({ErrorWord.TIMEOUT, ErrorWord.CONNECTION_LOST, ErrorWord.OUTCOME_UNKNOWN})

# Permanent words that say what the meter's own answer shows: a session that ends with one of them has read the meter.
FOUND_BY_READING = frozenset({ErrorWord.VERIFICATION_FAILED, ErrorWord.NOT_SWITCHABLE})
