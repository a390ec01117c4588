"""General-ciphering: any APDU from an originator to a recipient, with a key of its own where it names one.

The key is one that both hold, or comes along wrapped, or is agreed on (catalogue 2.5; IEC 62056-5-3 clause 5.7).
"""

from typing import Final

import msgspec

from metercast.dlms.axdr import encode_length, expect_end, take_octets
from metercast.dlms.ciphering import TITLE_SIZE, Cipher, Unprotected
from metercast.dlms.errors import DecodeError, DowngradeError, EncodeError

GENERAL_CIPHERING: Final = 0xDD

UNICAST_KEY: Final = 0
BROADCAST_KEY: Final = 1
MASTER_KEY: Final = 0

_IDENTIFIED, _WRAPPED, _AGREED = 0, 1, 2


class Heading(msgspec.Struct, frozen=True):
    """Who says it to whom: what general-ciphering authenticates, and general-signing signs, with the contents."""

    transaction_id: bytes
    originator: bytes
    recipient: bytes
    date_time: bytes = b""
    other_information: bytes = b""

    def encode(self) -> bytes:
        """Each field with its length."""
        return b"".join(encode_string(getattr(self, field)) for field in self.__struct_fields__)


class IdentifiedKey(msgspec.Struct, frozen=True):
    """One that both hold: UNICAST_KEY or BROADCAST_KEY."""

    key_id: int


class WrappedKey(msgspec.Struct, frozen=True):
    """One made up by the originator, wrapped with the key encrypting key `kek_id`: MASTER_KEY."""

    kek_id: int
    wrapped: bytes


class AgreedKey(msgspec.Struct, frozen=True):
    """One that both compute: `parameters` says how (key_agreement.Scheme), `data` is what the recipient needs."""

    parameters: bytes
    data: bytes


KeyInfo = IdentifiedKey | WrappedKey | AgreedKey


class GeneralCiphering(msgspec.Struct, frozen=True):
    """`body` begins with the security control and is ciphered still. `key_info` None: the recipient knows the key."""

    heading: Heading
    key_info: KeyInfo | None
    body: bytes

    def encode(self) -> bytes:
        head = bytes((GENERAL_CIPHERING,)) + self.heading.encode() + _encode_key_info(self.key_info)
        return head + encode_string(self.body)

    def unprotect(self, encryption_key: bytes, authentication_key: bytes, suite: int) -> Unprotected:
        """Checks and deciphers; errors as of `Cipher.unprotect`, DowngradeError where the key set is not unicast."""
        if self.body[:1] and self.body[0] & 0x40:
            raise DowngradeError("the broadcast key set in a general-ciphering APDU: its key-info names the key")
        cipher = Cipher(encryption_key, authentication_key, suite, heading=self.heading.encode())
        return cipher.unprotect(self.body, self.heading.originator)


def protect_general(
    heading: Heading,
    key_info: KeyInfo | None,
    cipher_keys: tuple[bytes, bytes],
    suite: int,
    security_control: int,
    counter: int,
    apdu: bytes,
) -> GeneralCiphering:
    """The ciphered form of a plain APDU. `cipher_keys` are the encryption key that `key_info` leads to, and the
    authentication key. With a key that is new `counter` begins anew, from 0. EncodeError."""
    if len(heading.originator) != TITLE_SIZE or len(heading.recipient) != TITLE_SIZE:
        raise EncodeError(f"a system title has {TITLE_SIZE} octets")
    cipher = Cipher(*cipher_keys, suite, heading=heading.encode())
    return GeneralCiphering(heading, key_info, cipher.protect(security_control, heading.originator, counter, apdu))


def decode_general_ciphering(apdu: bytes) -> GeneralCiphering:
    """Still ciphered; DecodeError."""
    if apdu[:1] != bytes((GENERAL_CIPHERING,)):
        raise DecodeError(f"not a general-ciphering APDU: {apdu[:4].hex()}")
    try:
        heading, offset = decode_heading(apdu, 1)
        key_info, offset = _decode_key_info(apdu, offset)
        body, offset = take_octets(apdu, offset)
    except IndexError:
        raise DecodeError("a general-ciphering APDU ends too early") from None
    expect_end(apdu, offset, "a general-ciphering APDU")
    return GeneralCiphering(heading, key_info, body)


def decode_heading(apdu: bytes, offset: int) -> tuple[Heading, int]:
    """(heading, offset behind it); IndexError where the octets end."""
    fields = []
    for _ in Heading.__struct_fields__:
        octets, offset = take_octets(apdu, offset)
        fields.append(octets)
    heading = Heading(*fields)
    for title in (heading.originator, heading.recipient):
        if len(title) not in (0, TITLE_SIZE):
            raise DecodeError(f"a system title of {len(title)} octets")
    return heading, offset


def encode_string(octets: bytes) -> bytes:
    return encode_length(len(octets)) + octets


def _encode_key_info(info: KeyInfo | None) -> bytes:
    if info is None:
        return b"\x00"
    if isinstance(info, IdentifiedKey):
        return bytes((1, _IDENTIFIED, info.key_id))
    if isinstance(info, WrappedKey):
        return bytes((1, _WRAPPED, info.kek_id)) + encode_string(info.wrapped)
    return bytes((1, _AGREED)) + encode_string(info.parameters) + encode_string(info.data)


def _decode_key_info(apdu: bytes, offset: int) -> tuple[KeyInfo | None, int]:
    present, offset = apdu[offset], offset + 1
    if not present:
        return None, offset
    choice, offset = apdu[offset], offset + 1
    if choice == _IDENTIFIED:
        return IdentifiedKey(apdu[offset]), offset + 1
    if choice == _WRAPPED:
        wrapped, end = take_octets(apdu, offset + 1)
        return WrappedKey(apdu[offset], wrapped), end
    if choice == _AGREED:
        parameters, offset = take_octets(apdu, offset)
        data, offset = take_octets(apdu, offset)
        return AgreedKey(parameters, data), offset
    raise DecodeError(f"a key-info of kind {choice}")
