"""Opening and closing an association: AARQ, AARE, RLRQ, RLRE (IEC 62056-5-3 clause 7; catalogue 2.2)."""

from enum import IntEnum
from functools import lru_cache

import msgspec

from metercast.dlms.ber import decode_element, decode_elements, decode_single, encode_element
from metercast.dlms.errors import DecodeError, EncodeError

AARQ = 0x60
AARE = 0x61
RLRQ = 0x62
RLRE = 0x63

_OID_PREFIX = bytes.fromhex("6085740508")
_CONTEXT_HEAD = b"\x06\x07" + _OID_PREFIX + b"\x01"
_REQUIREMENTS = bytes.fromhex("0780")  # authentication functional unit


class ApplicationContext(IntEnum):
    LN = 1
    SN = 2
    LN_CIPHERED = 3
    SN_CIPHERED = 4


class Mechanism(IntEnum):
    NONE = 0
    LLS = 1
    HLS = 2
    HLS_MD5 = 3
    HLS_SHA1 = 4
    HLS_GMAC = 5
    HLS_SHA256 = 6
    HLS_ECDSA = 7


class AssociationResult(IntEnum):
    ACCEPTED = 0
    REJECTED_PERMANENT = 1
    REJECTED_TRANSIENT = 2


class DiagnosticSource(IntEnum):
    SERVICE_USER = 1
    SERVICE_PROVIDER = 2


class UserDiagnostic(IntEnum):
    """Catalogue 2.8; where the source is the acse-service-user."""

    NULL = 0
    NO_REASON_GIVEN = 1
    APPLICATION_CONTEXT_NAME_NOT_SUPPORTED = 2
    CALLING_AP_TITLE_NOT_RECOGNIZED = 3
    AUTHENTICATION_MECHANISM_NAME_NOT_RECOGNISED = 11
    AUTHENTICATION_MECHANISM_NAME_REQUIRED = 12
    AUTHENTICATION_FAILURE = 13
    AUTHENTICATION_REQUIRED = 14


class Aarq(msgspec.Struct, frozen=True, kw_only=True):
    """`mechanism` None: no authentication fields at all. `authentication` is a password or the challenge CtoS."""

    application_context: int
    user_information: bytes | None
    calling_ap_title: bytes | None = None
    mechanism: int | None = None
    authentication: bytes | None = None

    def __repr__(self) -> str:
        return f"Aarq(application_context={self.application_context}, mechanism={self.mechanism})"

    def encode(self) -> bytes:
        body = _aarq_head(self.application_context, self.calling_ap_title, self.mechanism)
        if self.authentication is not None:
            body += _encode_within(0xAC, 0x80, self.authentication)
        return encode_element(AARQ, body + _encode_user_information(self.user_information))


class Aare(msgspec.Struct, frozen=True, kw_only=True):
    """`authentication` is the challenge StoC. Diagnostic 14 with result 0: HLS is pending."""

    application_context: int
    result: int
    diagnostic: int
    user_information: bytes | None
    diagnostic_source: int = DiagnosticSource.SERVICE_USER.value
    responding_ap_title: bytes | None = None
    mechanism: int | None = None
    authentication: bytes | None = None

    def encode(self) -> bytes:
        body = _encode_oid(0xA1, 1, self.application_context)
        body += encode_element(0xA2, bytes((2, 1, self.result)))
        source = 0xA0 | self.diagnostic_source
        body += encode_element(0xA3, encode_element(source, bytes((2, 1, self.diagnostic))))
        if self.responding_ap_title is not None:
            body += encode_element(0xA4, encode_element(0x04, self.responding_ap_title))
        if self.mechanism is not None:
            body += b"\x88\x02" + _REQUIREMENTS + _encode_mechanism(0x89, self.mechanism)
        if self.authentication is not None:
            body += encode_element(0xAA, encode_element(0x80, self.authentication))
        return encode_element(AARE, body + _encode_user_information(self.user_information))


class Rlrq(msgspec.Struct, frozen=True):
    """`reason` 0 normal, 1 urgent, 30 user-defined; may be absent, as may the (ciphered) InitiateRequest."""

    reason: int | None = 0
    user_information: bytes | None = None

    def encode(self) -> bytes:
        return _encode_release(RLRQ, self.reason, self.user_information)


class Rlre(msgspec.Struct, frozen=True):
    """`reason` 0 normal, 1 not finished, 30 user-defined; may be absent, as may the (ciphered) InitiateResponse."""

    reason: int | None = 0
    user_information: bytes | None = None

    def encode(self) -> bytes:
        return _encode_release(RLRE, self.reason, self.user_information)


def decode_aarq(apdu: bytes) -> Aarq:
    elements = decode_elements(decode_single(apdu, AARQ, "AARQ"), "AARQ")
    return Aarq(
        application_context=_required_context(elements, "AARQ"),
        calling_ap_title=_octets(elements.get(0xA6), "calling-AP-title"),
        mechanism=_mechanism(elements.get(0x8B)),
        authentication=_octets(elements.get(0xAC), "authentication-value", 0x80),
        user_information=_octets(elements.get(0xBE), "user-information"),
    )


def decode_aare(apdu: bytes) -> Aare:
    elements = decode_elements(decode_single(apdu, AARE, "AARE"), "AARE")
    if 0xA2 not in elements or 0xA3 not in elements:
        raise DecodeError("an AARE without result or diagnostic")
    source, diagnostic, end = decode_element(elements[0xA3])
    if source not in (0xA1, 0xA2) or end != len(elements[0xA3]):
        raise DecodeError(f"not a diagnostic: {elements[0xA3][:8].hex()}")
    return Aare(
        application_context=_required_context(elements, "AARE"),
        result=_small_integer(elements[0xA2], "result"),
        diagnostic=_small_integer(diagnostic, "diagnostic"),
        diagnostic_source=source & 0x0F,
        responding_ap_title=_octets(elements.get(0xA4), "responding-AP-title"),
        mechanism=_mechanism(elements.get(0x89)),
        authentication=_octets(elements.get(0xAA), "authentication-value", 0x80),
        user_information=_octets(elements.get(0xBE), "user-information"),
    )


def decode_rlrq(apdu: bytes) -> Rlrq:
    return Rlrq(*_decode_release(apdu, RLRQ, "RLRQ"))


def decode_rlre(apdu: bytes) -> Rlre:
    return Rlre(*_decode_release(apdu, RLRE, "RLRE"))


def _encode_release(tag: int, reason: int | None, user_information: bytes | None) -> bytes:
    body = b"" if reason is None else bytes((0x80, 1, reason))
    return encode_element(tag, body + _encode_user_information(user_information))


def _decode_release(apdu: bytes, tag: int, what: str) -> tuple[int | None, bytes | None]:
    elements = decode_elements(decode_single(apdu, tag, what), what)
    reason = elements.get(0x80)
    if reason is not None and len(reason) != 1:
        raise DecodeError(f"{what}: a reason has one octet, not {len(reason)}")
    return None if reason is None else reason[0], _octets(elements.get(0xBE), "user-information")


def _encode_oid(tag: int, arc: int, number: int) -> bytes:
    return bytes((tag, 9, 6, 7)) + _OID_PREFIX + bytes((arc, number))


def _encode_mechanism(tag: int, number: int) -> bytes:
    if not 0 <= number <= 127:
        raise EncodeError(f"authentication mechanism {number}")
    return bytes((tag, 7)) + _OID_PREFIX + bytes((2, number))


@lru_cache(maxsize=64)
def _aarq_head(application_context: int, calling_ap_title: bytes | None, mechanism: int | None) -> bytes:
    """What nearly all meters of a fleet are sent alike."""
    head = _encode_oid(0xA1, 1, application_context)
    if calling_ap_title is not None:
        head += encode_element(0xA6, encode_element(0x04, calling_ap_title))
    if mechanism is not None:
        head += b"\x8a\x02" + _REQUIREMENTS + _encode_mechanism(0x8B, mechanism)
    return head


def _encode_user_information(octets: bytes | None) -> bytes:
    return b"" if octets is None else _encode_within(0xBE, 0x04, octets)


def _encode_within(outer: int, inner: int, octets: bytes) -> bytes:
    """One element as the only contents of another."""
    size = len(octets)
    if size < 0x7E:
        return bytes((outer, size + 2, inner, size)) + octets
    return encode_element(outer, encode_element(inner, octets))


def _required_context(elements: dict[int, bytes], what: str) -> int:
    contents = elements.get(0xA1)
    if contents is None:
        raise DecodeError(f"{what}: no application-context-name")
    if len(contents) == 9 and contents[:8] == _CONTEXT_HEAD:
        return contents[8]
    return _oid(decode_single(contents, 0x06, "application-context-name"), 1, "application-context-name")


def _mechanism(contents: bytes | None) -> int | None:
    return None if contents is None else _oid(contents, 2, "mechanism-name")


def _oid(octets: bytes, arc: int, what: str) -> int:
    if len(octets) != 7 or octets[:5] != _OID_PREFIX or octets[5] != arc:
        raise DecodeError(f"{what}: not 2.16.756.5.8.{arc}: {octets[:16].hex()}")
    return octets[6]


def _octets(contents: bytes | None, what: str, tag: int = 0x04) -> bytes | None:
    return None if contents is None else decode_single(contents, tag, what)


def _small_integer(contents: bytes, what: str) -> int:
    if len(contents) == 3 and contents[:2] == b"\x02\x01":
        return contents[2]
    octets = decode_single(contents, 0x02, what)
    if len(octets) != 1:
        raise DecodeError(f"{what}: one octet was expected, not {octets[:8].hex()}")
    return octets[0]
