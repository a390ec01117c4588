"""InitiateRequest and InitiateResponse: the xDLMS context inside AARQ and AARE (catalogue 2.2)."""

import struct
from functools import lru_cache

import msgspec

from metercast.dlms.axdr import expect_end, take, take_octets
from metercast.dlms.conformance import Conformance
from metercast.dlms.cosem import decode_presence
from metercast.dlms.errors import DecodeError, EncodeError

INITIATE_REQUEST = 0x01
INITIATE_RESPONSE = 0x08
DLMS_VERSION = 6
VAA_NAME_LN = 0x0007

_CONFORMANCE_HEAD = b"\x5f\x1f\x04\x00"
_CONFORMANCE_HEAD_SHORT = b"\x5f\x04\x00"  # the tag in one octet, as some meters write it


class InitiateRequest(msgspec.Struct, frozen=True, kw_only=True):
    conformance: int
    client_max_receive_pdu_size: int
    dedicated_key: bytes | None = None
    response_allowed: bool = True
    quality_of_service: int | None = None
    dlms_version: int = DLMS_VERSION

    def __repr__(self) -> str:
        return f"InitiateRequest(conformance={self.conformance:06X}, pdu={self.client_max_receive_pdu_size})"

    def encode(self) -> bytes:
        key = self.dedicated_key
        head = b"\x01\x00" if key is None else bytes((1, 1, len(key))) + key
        head += b"\x00" if self.response_allowed else b"\x01\x00"
        head += _encode_quality(self.quality_of_service)
        return head + _encode_context(self.dlms_version, self.conformance, self.client_max_receive_pdu_size)


class InitiateResponse(msgspec.Struct, frozen=True, kw_only=True):
    conformance: int
    server_max_receive_pdu_size: int
    quality_of_service: int | None = None
    dlms_version: int = DLMS_VERSION
    vaa_name: int = VAA_NAME_LN

    def encode(self) -> bytes:
        head = b"\x08" + _encode_quality(self.quality_of_service)
        context = _encode_context(self.dlms_version, self.conformance, self.server_max_receive_pdu_size)
        return head + context + self.vaa_name.to_bytes(2, "big")


def decode_initiate_request(apdu: bytes) -> InitiateRequest:
    try:
        return _decode_request(apdu)
    except IndexError:
        raise DecodeError("an InitiateRequest ends too early") from None


def _decode_request(apdu: bytes) -> InitiateRequest:
    if apdu[0] != INITIATE_REQUEST:
        raise DecodeError(f"0x{apdu[0]:02X} is not an InitiateRequest")
    offset = 2
    key = None
    if decode_presence(apdu, 1):
        key, offset = take_octets(apdu, 2)
    response_allowed = True
    offset += 1
    if decode_presence(apdu, offset - 1):
        response_allowed = apdu[offset] != 0
        offset += 1
    quality, offset = _decode_quality(apdu, offset)
    version, conformance, size, offset = _decode_context(apdu, offset)
    expect_end(apdu, offset, "an InitiateRequest")
    return InitiateRequest(
        conformance=conformance,
        client_max_receive_pdu_size=size,
        dedicated_key=key,
        response_allowed=response_allowed,
        quality_of_service=quality,
        dlms_version=version,
    )


@lru_cache(maxsize=64)
def decode_initiate_response(apdu: bytes) -> InitiateResponse:
    """All meters of one firmware send the same: it is decoded once."""
    try:
        return _decode_response(apdu)
    except IndexError:
        raise DecodeError("an InitiateResponse ends too early") from None


def _decode_response(apdu: bytes) -> InitiateResponse:
    if apdu[0] != INITIATE_RESPONSE:
        raise DecodeError(f"0x{apdu[0]:02X} is not an InitiateResponse")
    quality, offset = _decode_quality(apdu, 1)
    version, conformance, size, offset = _decode_context(apdu, offset)
    vaa_name, offset = take(apdu, offset, 2)
    expect_end(apdu, offset, "an InitiateResponse")
    return InitiateResponse(
        conformance=conformance,
        server_max_receive_pdu_size=size,
        quality_of_service=quality,
        dlms_version=version,
        vaa_name=int.from_bytes(vaa_name, "big"),
    )


def _encode_quality(quality: int | None) -> bytes:
    return b"\x00" if quality is None else b"\x01" + quality.to_bytes(1, "big", signed=True)


def _decode_quality(apdu: bytes, offset: int) -> tuple[int | None, int]:
    if not decode_presence(apdu, offset):
        return None, offset + 1
    octet = apdu[offset + 1]
    return octet - 256 if octet > 127 else octet, offset + 2


def _encode_context(version: int, conformance: int, size: int) -> bytes:
    try:
        return (
            struct.pack(">B", version)
            + _CONFORMANCE_HEAD
            + int(conformance).to_bytes(3, "big")
            + struct.pack(">H", size)
        )
    except (struct.error, OverflowError) as exc:
        raise EncodeError(f"out of range: version {version}, conformance {conformance}, size {size}") from exc


def _decode_context(apdu: bytes, offset: int) -> tuple[int, Conformance, int, int]:
    version = apdu[offset]
    offset += 1
    if apdu.startswith(_CONFORMANCE_HEAD, offset):
        offset += 4
    elif apdu.startswith(_CONFORMANCE_HEAD_SHORT, offset):
        offset += 3
    else:
        raise DecodeError(f"no conformance block of 24 bits at {offset}")
    octets, offset = take(apdu, offset, 5)
    conformance = _CONFORMANCES.get(octets[:3])
    if conformance is None:
        conformance = Conformance(int.from_bytes(octets[:3], "big"))
        if len(_CONFORMANCES) < 256:
            _CONFORMANCES[octets[:3]] = conformance
    return version, conformance, octets[3] << 8 | octets[4], offset


_CONFORMANCES: dict[bytes, Conformance] = {}
