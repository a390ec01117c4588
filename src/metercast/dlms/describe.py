"""Any frame or APDU as a readable tree, for people who hold a trace in hand."""

from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec

from metercast.dlms import acse, action, get
from metercast.dlms import set as set_service
from metercast.dlms.access import ACCESS_REQUEST, ACCESS_RESPONSE, decode_access_request, decode_access_response
from metercast.dlms.ciphering import ENCRYPTED, HEADER_SIZE, TAG_SIZE
from metercast.dlms.conformance import names
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.data import CompactArray, Data, Tag, decode_whole
from metercast.dlms.datetimes import CosemDateTime
from metercast.dlms.deciphering import CIPHERED_TAGS, KeyRing, Keys, split_ciphered
from metercast.dlms.errors import DecodeError, EncodeError
from metercast.dlms.general_block import GENERAL_BLOCK_TRANSFER, GeneralBlock, decode_general_block
from metercast.dlms.general_ciphering import (
    GENERAL_CIPHERING,
    AgreedKey,
    IdentifiedKey,
    WrappedKey,
    decode_general_ciphering,
)
from metercast.dlms.general_signing import GENERAL_SIGNING, decode_general_signing
from metercast.dlms.initiate import InitiateRequest, decode_initiate_request, decode_initiate_response
from metercast.dlms.joined import JoinedBlocks
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.masking import SecretWatch
from metercast.dlms.notification import DATA_NOTIFICATION, EVENT_NOTIFICATION, decode_notification
from metercast.dlms.service_error import (
    ConfirmedServiceError,
    ExceptionResponse,
    decode_confirmed_service_error,
    decode_exception_response,
)

MAX_OCTETS = 1 << 20
MAX_SHOWN_HEX = 4096
MAX_LAYERS = 2
_MAX_BLOCKS = 1 << 20
_MAX_SENDERS = 16
_UNREADABLE = "not readable"


class Description(NamedTuple):
    """A node: what it is, its value as text where it has one, and what it is made of."""

    name: str
    value: str | None = None
    children: "tuple[Description, ...]" = ()

    @property
    def is_unreadable(self) -> bool:
        """It stands for octets that could not be read; its value says why."""
        return self.name == _UNREADABLE

    @property
    def faults(self) -> int:
        """How many nodes of the tree could not be read."""
        return self.is_unreadable + sum(child.faults for child in self.children)

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


def unreadable(reason: str, octets: bytes = b"") -> Description:
    """The node for what can't be read."""
    shown = octets[:MAX_SHOWN_HEX].hex() + ("..." if len(octets) > MAX_SHOWN_HEX else "")
    return Description(_UNREADABLE, reason, (Description("octets", shown),) if octets else ())


def describe(octets: bytes, keys: Sequence[Keys] = ()) -> Description:
    """One APDU or one Data; DlmsError where it is neither, or the keys don't fit."""
    if not octets:
        raise DecodeError("nothing to describe")
    if len(octets) > MAX_OCTETS:
        raise DecodeError(f"{len(octets)} octets, more than {MAX_OCTETS}")
    try:
        return ApduReader(keys).apdu(octets)
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
    DATA_NOTIFICATION: ("data-notification", decode_notification),
    EVENT_NOTIFICATION: ("event-notification", decode_notification),
    0xD8: ("exception-response", decode_exception_response),
    ACCESS_REQUEST: ("access-request", decode_access_request),
    ACCESS_RESPONSE: ("access-response", decode_access_response),
    GENERAL_BLOCK_TRANSFER: ("general-block-transfer", decode_general_block),
}
_BLOCKS = (
    set_service.SetRequestFirstBlock,
    set_service.SetRequestBlock,
    action.ActionRequestFirstBlock,
    action.ActionRequestBlock,
    action.ActionResponseBlock,
)
_USER_INFORMATION = frozenset({0x01, 0x08, 0x0E, 0x21, 0x28, 0x2E})
_CONTEXTS = {context.value: context.name.lower().replace("_", "-") for context in acse.ApplicationContext}
_MECHANISMS = {mechanism.value: mechanism.name.lower().replace("_", "-") for mechanism in acse.Mechanism}
_RESULTS = {0: "accepted", 1: "rejected-permanent", 2: "rejected-transient"}


_KEY_INFOS: dict[type, str] = {
    IdentifiedKey: "one that both hold",
    WrappedKey: "one that comes along, wrapped",
    AgreedKey: "one agreed on",
}


class ApduReader:
    """Describes the APDUs of one association one by one: learns system titles, joins blocks, hides secrets.

    Of several `keys` those that fit are found by trying.
    """

    def __init__(self, keys: Sequence[Keys] = ()) -> None:
        self._ring = KeyRing(keys)
        self._secrets = SecretWatch()
        self._blocks = bytearray()
        self._general_blocks: dict[object, JoinedBlocks] = {}
        self._layers = 0

    def apdu(self, octets: bytes, sender: object = None) -> Description:
        """`sender` is any name of the side that it comes from: general blocks are joined by it. DlmsError."""
        tag = octets[0]
        if tag in CIPHERED_TAGS:
            return self._ciphered(octets)
        if tag == GENERAL_CIPHERING:
            return self._general_ciphering(octets)
        if tag == GENERAL_SIGNING:
            return self._general_signing(octets)
        if tag not in _DECODERS:
            raise DecodeError(f"0x{tag:02X} begins no APDU that is known here")
        name, decode = _DECODERS[tag]
        value = decode(octets)
        if isinstance(value, acse.Aarq | acse.Aare):
            return self._association(name, value)
        if isinstance(value, ConfirmedServiceError | ExceptionResponse):
            return Description(name, str(value))
        if isinstance(value, InitiateRequest) and value.dedicated_key is not None:
            self._ring.learn_dedicated_key(value.dedicated_key)
        if isinstance(value, GeneralBlock):
            return Description(name, None, tuple(self._general_block(value, sender)))
        form = type(value).__name__
        hidden = self._secrets.secret_fields(value)
        return Description(name, form, (*self._fields(value, hidden), *self._joined(value, hidden)))

    def _joined(self, value: Any, hidden: frozenset[str]) -> Iterator[Description]:
        """The value that came in blocks, behind the last of them."""
        if isinstance(value, get.GetResponseBlock) and isinstance(value.result, bytes):
            number, last, raw = value.block, value.last, value.result
        elif isinstance(value, _BLOCKS):
            number, last, raw = value.block.number, value.block.last, value.block.raw
        else:
            return
        if number == 1:
            self._blocks.clear()
        if len(self._blocks) + len(raw) <= _MAX_BLOCKS:
            self._blocks += raw
        if last and number > 1 and not hidden:
            octets = bytes(self._blocks)
            try:
                yield describe_data(decode_whole(octets), f"in {number} blocks")
            except DecodeError:
                yield Description(f"in {number} blocks", octets[:MAX_SHOWN_HEX].hex())

    def _general_block(self, block: GeneralBlock, sender: object) -> Iterator[Description]:
        """The APDU behind the block that made it whole; the octets of a single block may be part of a secret."""
        yield Description("block", f"{block.number}{' (last)' if block.last else ''}")
        yield Description("acknowledges", str(block.acknowledged))
        yield Description("window", f"{block.window}{', streaming' if block.streaming else ''}")
        if block.data:
            yield Description("data", f"{len(block.data)} octets")
        if sender not in self._general_blocks and len(self._general_blocks) >= _MAX_SENDERS:
            self._general_blocks.clear()
        apdu = self._general_blocks.setdefault(sender, JoinedBlocks()).add(block)
        if apdu is not None:
            if not apdu or apdu[0] == GENERAL_BLOCK_TRANSFER:
                raise DecodeError("no APDU in general blocks")
            yield self.apdu(apdu)

    def _ciphered(self, octets: bytes) -> Description:
        ciphered = split_ciphered(octets)
        form = "ded" if ciphered.dedicated else "glo"
        inner = ciphered.plain_tag
        name = f"general-{form}-ciphering" if inner is None else f"{form}-{_DECODERS[inner][0]}"
        head = [
            Description("security control", f"{ciphered.security_control:02x}"),
            Description("invocation counter", str(ciphered.counter)),
        ]
        if ciphered.title:
            head.insert(0, Description("system title", ciphered.title.hex()))
        plaintext = self._ring.open(ciphered)
        if plaintext is None and not ciphered.security_control & ENCRYPTED:
            head.append(Description("authentication tag", "not checked"))  # what is inside is in the clear
            plaintext = ciphered.body[HEADER_SIZE:-TAG_SIZE]
            if not plaintext:
                raise DecodeError("a ciphered APDU that is cut short")
        if plaintext is None:
            return Description(name, None, (*head, Description("ciphered", ciphered.body[HEADER_SIZE:].hex())))
        if plaintext[0] in CIPHERED_TAGS:
            raise DecodeError("a ciphered APDU inside a ciphered one")
        return Description(name, None, (*head, self.apdu(plaintext)))

    def _general_ciphering(self, octets: bytes) -> Description:
        value = decode_general_ciphering(octets)
        nodes = list(self._fields(value.heading))
        if value.key_info is not None:
            kind = _KEY_INFOS[type(value.key_info)]
            nodes.append(Description("key info", kind, tuple(self._fields(value.key_info))))
        head, ciphered = value.body[:HEADER_SIZE], value.body[HEADER_SIZE:]
        nodes.append(Description("security control", head[:1].hex()))
        nodes.append(Description("invocation counter", str(int.from_bytes(head[1:], "big"))))
        plaintext = self._ring.open_general(value)
        nodes.append(Description("ciphered", ciphered.hex()) if plaintext is None else self._inside(plaintext))
        return Description("general-ciphering", None, tuple(nodes))

    def _general_signing(self, octets: bytes) -> Description:
        """The signature is shown and not checked: whose key it must have, a trace does not say."""
        value = decode_general_signing(octets)
        signature = Description("signature", value.signature.hex())
        nodes = (*self._fields(value.heading), self._inside(value.content), signature)
        return Description("general-signing", None, nodes)

    def _inside(self, apdu: bytes) -> Description:
        """A signed APDU may stand in a ciphered one, or the other way round; what nests further would never end."""
        if not apdu:
            raise DecodeError("nothing stands inside a protected APDU")
        if self._layers == MAX_LAYERS:
            raise DecodeError(f"more than {MAX_LAYERS} layers of general protection")
        self._layers += 1
        try:
            return self.apdu(apdu)
        finally:
            self._layers -= 1

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
            self._ring.learn_title(title, of_client=asked)
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

    def _fields(self, value: msgspec.Struct, hidden: frozenset[str] = frozenset()) -> Iterator[Description]:
        for field in value.__struct_fields__:
            content = getattr(value, field)
            if field in hidden:
                yield Description(field.replace("_", " "), "a secret, not shown")
            elif content is not None:
                yield self._field(field.replace("_", " "), content)

    def _field(self, name: str, content: Any) -> Description:
        if name == "conformance":
            return Description(name, f"{int(content):06x} {' '.join(names(content))}")
        if name in ("dedicated key", "wrapped"):
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
