"""APDUs with their secrets struck out and every length kept: what a trace may hold of what went over the line."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from metercast.dlms import acse, action, get
from metercast.dlms import set as set_service
from metercast.dlms.access import (
    ACCESS_REQUEST,
    ACCESS_RESPONSE,
    AccessRequest,
    AccessResponse,
    decode_access_request,
    decode_access_response,
)
from metercast.dlms.axdr import decode_length, take_octets
from metercast.dlms.ber import encode_element
from metercast.dlms.ciphering import AUTHENTICATED, ENCRYPTED, HEADER_SIZE, TAG_SIZE
from metercast.dlms.cosem import CosemAttribute, CosemMethod, decode_attribute, decode_method
from metercast.dlms.data import Data, Tag, encode_data
from metercast.dlms.data_types import BitString
from metercast.dlms.deciphering import CIPHERED_TAGS, split_ciphered
from metercast.dlms.errors import DlmsError
from metercast.dlms.general_block import GENERAL_BLOCK_TRANSFER, decode_general_block
from metercast.dlms.general_protection import GENERAL_DED, GENERAL_GLO
from metercast.dlms.get import encode_get_data_result
from metercast.dlms.initiate import INITIATE_REQUEST, decode_initiate_request
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.masking import SecretWatch, is_secret

MASK: Final = b"*"
_WITHOUT_SECRETS: Final = frozenset({acse.AARE, acse.RLRE, 0x08, 0x0E, 0x0F, 0xC2, 0xC5, 0xC7, 0xD8})
_DECODERS: Final = {
    get.GET_REQUEST: get.decode_get_request,
    get.GET_RESPONSE: get.decode_get_response,
    set_service.SET_REQUEST: set_service.decode_set_request,
    action.ACTION_REQUEST: action.decode_action_request,
    ACCESS_REQUEST: decode_access_request,
    ACCESS_RESPONSE: decode_access_response,
}
_BEGINNINGS: Final[dict[int, Callable[[bytes, int], tuple[CosemAttribute | CosemMethod, int]]]] = {
    get.GET_REQUEST: decode_attribute,
    set_service.SET_REQUEST: decode_attribute,
    action.ACTION_REQUEST: decode_method,
}
_TARGET_END: Final = 12
_ANY_SECRET: Final = CosemAttribute(15, LogicalName.parse("0.0.40.0.0.255"), 7)
_KEPT: Final = 6  # octets of a form that is not known here: enough to see what it is


class Masker:
    """Follows one association, both directions. What is encrypted stays as it is; what is only authenticated is in the
    clear, and masked like the rest; what can't be read is struck out."""

    def __init__(self) -> None:
        self._watch = SecretWatch()
        self._blocks_are_harmless = False

    @property
    def awaits_secret(self) -> bool:
        """A secret was asked for in the clear: what comes must be masked before it is kept."""
        return self._watch.awaits_secret

    def mask(self, apdu: bytes) -> bytes:
        """As long as it was."""
        if not apdu:
            return apdu
        tag = apdu[0]
        if tag in _WITHOUT_SECRETS:
            return apdu
        try:
            if tag in CIPHERED_TAGS:
                return self._masked_ciphered(apdu)
            if tag == INITIATE_REQUEST:
                return _masked_initiate(apdu)
            if tag == acse.AARQ:
                return self._masked_aarq(apdu)
            if tag == acse.RLRQ:
                return self._masked_information(apdu, acse.decode_rlrq(apdu).user_information)
            if tag in _DECODERS:
                return self._masked_service(apdu)
            if tag == GENERAL_BLOCK_TRANSFER:
                return self._masked_block(apdu)
        except DlmsError:
            return _struck_out(apdu, 1)
        return _struck_out(apdu, _KEPT)

    def _masked_ciphered(self, apdu: bytes) -> bytes:
        ciphered = split_ciphered(apdu)
        if ciphered.security_control & ENCRYPTED:
            return apdu
        start, end = len(apdu) - len(ciphered.body) + HEADER_SIZE, len(apdu)
        if ciphered.security_control & AUTHENTICATED:
            end = max(start, end - TAG_SIZE)
        inner = apdu[start:end]
        if inner[:1] and inner[0] in CIPHERED_TAGS:
            return _struck_out(apdu, start)
        return apdu[:start] + self.mask(inner) + apdu[end:]

    def _masked_aarq(self, apdu: bytes) -> bytes:
        """The LLS password and a dedicated key in the clear; a challenge of HLS is none of them."""
        aarq = acse.decode_aarq(apdu)
        password = aarq.authentication
        if password and aarq.mechanism in (None, acse.Mechanism.NONE, acse.Mechanism.LLS):
            whole = encode_element(0xAC, encode_element(0x80, password))
            masked = encode_element(0xAC, encode_element(0x80, MASK * len(password)))
            if apdu.count(whole) != 1:
                return _struck_out(apdu, 1)
            apdu = apdu.replace(whole, masked)
        return self._masked_information(apdu, aarq.user_information)

    def _masked_information(self, apdu: bytes, information: bytes | None) -> bytes:
        """An InitiateRequest may bring a dedicated key."""
        if not information:
            return apdu
        masked = self.mask(information)
        if masked == information:
            return apdu
        return apdu.replace(information, masked) if apdu.count(information) == 1 else _struck_out(apdu, 1)

    def _masked_service(self, apdu: bytes) -> bytes:
        service: Any = _DECODERS[apdu[0]](apdu)
        fields = self._watch.secret_fields(service)
        if fields and isinstance(service, AccessRequest | AccessResponse):
            return _masked_values(apdu, service)
        for field in fields:
            apdu = _masked_tail(apdu, getattr(service, field))
        return apdu

    def _masked_block(self, apdu: bytes) -> bytes:
        """The beginning of the APDU that is cut says whether there is a secret in it; in doubt there is."""
        block = decode_general_block(apdu)
        if not block.data:
            return apdu
        if block.number == 1:
            self._blocks_are_harmless = self._is_harmless(block.data)
        return apdu if self._blocks_are_harmless else _struck_out(apdu, len(apdu) - len(block.data))

    def _is_harmless(self, beginning: bytes) -> bool:
        tag = beginning[0]
        if tag in CIPHERED_TAGS:
            return _is_encrypted(beginning)
        if self.awaits_secret:
            return False
        if tag in _WITHOUT_SECRETS or tag == get.GET_RESPONSE:
            return True
        if tag not in _BEGINNINGS or len(beginning) < _TARGET_END or beginning[1] != 1:
            if tag == get.GET_REQUEST and len(beginning) > 2:  # a list that is cut: its answer may be a secret
                self._watch.secret_fields(get.GetRequestNormal(beginning[2], _ANY_SECRET))
            return tag == get.GET_REQUEST
        target, _ = _BEGINNINGS[tag](beginning, 3)
        if tag == get.GET_REQUEST and isinstance(target, CosemAttribute):
            self._watch.secret_fields(get.GetRequestNormal(beginning[2], target))
            return True
        return not is_secret(target)


def _masked_initiate(apdu: bytes) -> bytes:
    key = decode_initiate_request(apdu).dedicated_key
    if not key:
        return apdu
    return apdu[:3] + MASK * len(key) + apdu[3 + len(key) :] if apdu[3 : 3 + len(key)] == key else _struck_out(apdu, 1)


def _is_encrypted(beginning: bytes) -> bool:
    """Of an APDU that is cut: whether its security control stands there and says so."""
    try:
        offset = 1
        if beginning[0] in (GENERAL_GLO, GENERAL_DED):
            _, offset = take_octets(beginning, offset)
        _, offset = decode_length(beginning, offset)
        return bool(beginning[offset] & ENCRYPTED)
    except (IndexError, DlmsError):
        return False


def _masked_tail(apdu: bytes, content: Any) -> bytes:
    """The secret is the last thing in every service that has one."""
    if isinstance(content, bytes):
        return apdu[: len(apdu) - len(content)] + MASK * len(content)
    raw = getattr(content, "raw", None)
    if raw is not None:
        return apdu[: len(apdu) - len(raw)] + MASK * len(raw)
    items = content if isinstance(content, list) else [content]
    octets = [_encoded(item) for item in items]
    tail = b"".join(_masked_value(item, len(size)) for item, size in zip(items, octets, strict=True))
    return apdu[: len(apdu) - len(tail)] + tail


def _masked_values(apdu: bytes, service: AccessRequest | AccessResponse) -> bytes:
    masked = msgspec.structs.replace(service, values=[_blank(value) for value in service.values]).encode()
    return masked if len(masked) == len(apdu) else _struck_out(apdu, _KEPT)


def _encoded(item: Any) -> bytes:
    """Of a Data by itself, or of a result with its choice."""
    if isinstance(item, Data):
        return encode_data(item)
    return encode_get_data_result(item)[1:]


def _masked_value(item: Any, size: int) -> bytes:
    if not isinstance(item, Data):
        return _encoded(item)
    try:
        masked = encode_data(_blank(item))
    except DlmsError:
        masked = b""
    return masked if len(masked) == size else MASK * size


def _blank(data: Data) -> Data:
    """The same type, as long, saying nothing."""
    tag, value = data.tag, data.value
    if isinstance(value, list):
        return Data(tag, [_blank(element) for element in value])
    if isinstance(value, BitString):
        return Data.bit_string("0" * len(value.bits))
    if isinstance(value, bytes):
        return Data(tag, MASK * len(value))
    if isinstance(value, str):
        return Data(tag, MASK.decode() * len(value.encode()))
    if isinstance(value, bool):
        return Data(tag, False)
    if isinstance(value, int | float) and tag is not Tag.BCD:
        return Data(tag, type(value)(0))
    return data if value is None else Data(tag, 0)


def _struck_out(apdu: bytes, kept: int) -> bytes:
    return apdu[:kept] + MASK * (len(apdu) - kept)
