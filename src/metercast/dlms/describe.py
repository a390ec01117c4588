"""Any frame or APDU as a readable tree, for people who hold a trace in hand."""

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec

from metercast.dlms import acse, action, get
from metercast.dlms import set as set_service
from metercast.dlms.axdr import take_octets
from metercast.dlms.ciphering import PLAIN_TAGS, Cipher, decode_glo
from metercast.dlms.conformance import names
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.data import CompactArray, Data, Tag, decode_whole
from metercast.dlms.datetimes import CosemDateTime
from metercast.dlms.errors import DecodeError, EncodeError
from metercast.dlms.initiate import decode_initiate_request, decode_initiate_response
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.service_error import (
    ConfirmedServiceError,
    ExceptionResponse,
    decode_confirmed_service_error,
    decode_exception_response,
)
from metercast.dlms.wrapper import HEADER_SIZE, WrapperReader

MAX_OCTETS = 1 << 20


class Keys(NamedTuple):
    """What deciphering needs; a title that is None is taken from the AARQ or AARE where that is described."""

    encryption_key: bytes
    authentication_key: bytes
    client_system_title: bytes | None = None
    server_system_title: bytes | None = None

    def __repr__(self) -> str:
        return "Keys()"


class Description(NamedTuple):
    """A node: what it is, its value as text where it has one, and what it is made of."""

    name: str
    value: str | None = None
    children: "tuple[Description, ...]" = ()

    def lines(self, indent: int = 0) -> Iterator[str]:
        """The tree as text, two blanks a level."""
        yield "  " * indent + (self.name if self.value is None else f"{self.name}: {self.value}")
        for child in self.children:
            yield from child.lines(indent + 1)

    def as_dict(self) -> dict[str, Any]:
        """The tree as JSON knows it: name, and value and children where there are any."""
        shown: dict[str, Any] = {"name": self.name}
        if self.value is not None:
            shown["value"] = self.value
        if self.children:
            shown["children"] = [child.as_dict() for child in self.children]
        return shown


def describe(octets: bytes, keys: Keys | None = None) -> Description:
    """Wrapper frames, one APDU, or one Data; DlmsError where it is none of them, or the keys don't fit."""
    if not octets:
        raise DecodeError("nothing to describe")
    if len(octets) > MAX_OCTETS:
        raise DecodeError(f"{len(octets)} octets, more than {MAX_OCTETS}")
    reader = _Reader(keys)
    if octets[:2] == b"\x00\x01" and len(octets) >= HEADER_SIZE:
        return _describe_frames(octets, reader)
    if octets[0] == 0x7E:
        raise DecodeError("an HDLC frame; only wrapper frames, APDUs and Data are described")
    try:
        return reader.apdu(octets)
    except DecodeError as exc:
        try:
            return describe_data(decode_whole(octets))
        except DecodeError:
            raise exc from None


def describe_data(data: Data, name: str | None = None) -> Description:
    """A value with its type; dates, times and logical names inside octet-strings are named beside them."""
    tag, value = data.tag, data.value
    label = tag.label if name is None else f"{name} {tag.label}"
    if isinstance(value, CompactArray):
        return Description(label, f"{len(value.values)} elements", tuple(map(describe_data, value.values)))
    if isinstance(value, list):
        return Description(label, f"{len(value)} elements", tuple(map(describe_data, value)))
    if isinstance(value, bytes):
        return Description(label, _describe_octets(tag, value))
    if tag is Tag.BIT_STRING:
        return Description(label, value.bits)
    return Description(label, None if value is None else str(value))


def _describe_octets(tag: Tag, octets: bytes) -> str:
    text = octets.hex()
    if len(octets) == 12 and tag in (Tag.OCTET_STRING, Tag.DATE_TIME):
        moment = CosemDateTime.decode(octets)
        try:
            moment.check()
        except EncodeError:
            return text
        return f"{text} ({moment})"
    if len(octets) == 6 and octets[5] == 0xFF:
        return f"{text} ({LogicalName(octets)})"
    if octets and octets.isascii() and octets.decode("ascii").isprintable():
        return f"{text} ({octets.decode('ascii')!r})"
    return text


def _describe_frames(octets: bytes, reader: "_Reader") -> Description:
    wrapper = WrapperReader()
    frames = wrapper.feed(octets)
    if wrapper.pending:
        wrapper.feed(b"")
        raise DecodeError(f"the last wrapper frame is not whole: {wrapper.pending} octets")
    nodes = tuple(
        Description(
            "wrapper frame",
            f"from {frame.source} to {frame.destination}, {len(frame.apdu)} octets",
            (reader.apdu(frame.apdu),) if frame.apdu else (),
        )
        for frame in frames
    )
    return nodes[0] if len(nodes) == 1 else Description("wrapper frames", str(len(nodes)), nodes)


_DECODERS: dict[int, tuple[str, Callable[[bytes], Any]]] = {
    0x01: ("initiate-request", decode_initiate_request),
    0x08: ("initiate-response", decode_initiate_response),
    0x0E: ("confirmed-service-error", decode_confirmed_service_error),
    acse.AARQ: ("AARQ", acse.decode_aarq),
    acse.AARE: ("AARE", acse.decode_aare),
    acse.RLRQ: ("RLRQ", acse.decode_rlrq),
    acse.RLRE: ("RLRE", acse.decode_rlre),
    get.GET_REQUEST: ("get-request", get.decode_get_request),
    get.GET_RESPONSE: ("get-response", get.decode_get_response),
    set_service.SET_REQUEST: ("set-request", set_service.decode_set_request),
    set_service.SET_RESPONSE: ("set-response", set_service.decode_set_response),
    action.ACTION_REQUEST: ("action-request", action.decode_action_request),
    action.ACTION_RESPONSE: ("action-response", action.decode_action_response),
    0xD8: ("exception-response", decode_exception_response),
}
_OTHERS = {0x0F: "data-notification", 0xC2: "event-notification"}
_USER_INFORMATION = frozenset({0x01, 0x08, 0x0E, 0x21, 0x28, 0x2E})
_OF_CLIENT = frozenset({0x21, 0xC8, 0xC9, 0xCB})
_CONTEXTS = {context.value: context.name.lower().replace("_", "-") for context in acse.ApplicationContext}
_MECHANISMS = {mechanism.value: mechanism.name.lower().replace("_", "-") for mechanism in acse.Mechanism}
_RESULTS = {0: "accepted", 1: "rejected-permanent", 2: "rejected-transient"}


class _Reader:
    """Describes APDU after APDU, learning system titles on the way."""

    def __init__(self, keys: Keys | None) -> None:
        self._cipher = Cipher(keys.encryption_key, keys.authentication_key) if keys else None
        self._titles = {True: keys.client_system_title, False: keys.server_system_title} if keys else {}

    def apdu(self, octets: bytes) -> Description:
        tag = octets[0]
        if tag in PLAIN_TAGS:
            return self._glo(octets)
        if tag in _OTHERS:
            return Description(_OTHERS[tag], octets[1:].hex())
        if tag not in _DECODERS:
            raise DecodeError(f"0x{tag:02X} begins no APDU that is known here")
        name, decode = _DECODERS[tag]
        value = decode(octets)
        if isinstance(value, acse.Aarq | acse.Aare):
            return self._association(name, value)
        if isinstance(value, ConfirmedServiceError | ExceptionResponse):
            return Description(name, str(value))
        form = type(value).__name__
        return Description(name, form, tuple(self._fields(value)))

    def _glo(self, octets: bytes) -> Description:
        tag = octets[0]
        plain = PLAIN_TAGS[tag]
        name = f"glo-{_DECODERS[plain][0] if plain in _DECODERS else _OTHERS[plain]}"
        try:
            body, end = take_octets(octets, 1)
        except IndexError:
            raise DecodeError(f"{name} ends too early") from None
        if end != len(octets) or len(body) < 5:
            raise DecodeError(f"{name}: its length does not fit")
        head = (
            Description("security control", f"{body[0]:02x}"),
            Description("invocation counter", str(int.from_bytes(body[1:5], "big"))),
        )
        title = self._titles.get(tag in _OF_CLIENT)
        if self._cipher is None or title is None:
            return Description(name, None, (*head, Description("ciphered", body[5:].hex())))
        return Description(name, None, (*head, self.apdu(decode_glo(self._cipher, title, octets).plaintext)))

    def _association(self, name: str, value: acse.Aarq | acse.Aare) -> Description:
        context = _CONTEXTS.get(value.application_context, str(value.application_context))
        nodes = [Description("application context", context)]
        asked = isinstance(value, acse.Aarq)
        title = value.calling_ap_title if isinstance(value, acse.Aarq) else value.responding_ap_title
        if isinstance(value, acse.Aare):
            nodes.append(Description("result", f"{_RESULTS.get(value.result, 'unknown')} ({value.result})"))
            source = "service-user" if value.diagnostic_source == 1 else "service-provider"
            nodes.append(Description("diagnostic", f"{source} {value.diagnostic}"))
        if title is not None:
            nodes.append(Description("system title", title.hex()))
            if self._titles.get(asked, title) is None:
                self._titles[asked] = title
        if value.mechanism is not None:
            nodes.append(Description("mechanism", _MECHANISMS.get(value.mechanism, str(value.mechanism))))
        if value.authentication is not None:
            secret = asked and value.mechanism in (None, acse.Mechanism.LLS)
            shown = f"{len(value.authentication)} octets" if secret else value.authentication.hex()
            nodes.append(Description("password" if secret else "challenge", shown))
        if value.user_information:
            nodes.append(self._user_information(value.user_information))
        return Description(name, None, tuple(nodes))

    def _user_information(self, octets: bytes) -> Description:
        """Only what belongs there is read further: an AARQ inside an AARQ would never end."""
        return self.apdu(octets) if octets[0] in _USER_INFORMATION else Description("user information", octets.hex())

    def _fields(self, value: msgspec.Struct) -> Iterator[Description]:
        for field in value.__struct_fields__:
            content = getattr(value, field)
            if content is not None:
                yield self._field(field.replace("_", " "), content)

    def _field(self, name: str, content: Any) -> Description:
        if name == "conformance":
            return Description(name, f"{int(content):06x} {' '.join(names(content))}")
        if name == "dedicated key":
            return Description(name, f"{len(content)} octets")
        if name == "user information" and content:
            return self._user_information(content)
        if isinstance(content, Data):
            return describe_data(content, name)
        if isinstance(content, CosemAttribute | CosemMethod):
            return Description(name, str(content))
        if isinstance(content, IntEnum):
            return Description(name, f"{getattr(content, 'label', content.name)} ({content.value})")
        if isinstance(content, bytes):
            return Description(name, content.hex())
        if isinstance(content, list | tuple):
            nodes = [self._field(str(position), item) for position, item in enumerate(content) if item is not None]
            return Description(name, None, tuple(nodes))
        if isinstance(content, msgspec.Struct):
            return Description(name, None, tuple(self._fields(content)))
        if name == "invoke":
            return Description("invoke-id and priority", f"{content:02x}")
        return Description(name, str(content).lower() if isinstance(content, bool) else str(content))
