"""General-signing: an APDU that its originator has signed (catalogue 2.4; IEC 62056-5-3 clause 5.7)."""

from typing import Final

import msgspec

from metercast.dlms.axdr import expect_end, take_octets
from metercast.dlms.elliptic import PrivateKey, PublicKey
from metercast.dlms.errors import DecodeError
from metercast.dlms.general_ciphering import Heading, decode_heading, encode_string

GENERAL_SIGNING: Final = 0xDF


class GeneralSigning(msgspec.Struct, frozen=True):
    """`content` is an APDU, ciphered or not; `signature` is r and s, over heading and content with their lengths."""

    heading: Heading
    content: bytes
    signature: bytes

    def encode(self) -> bytes:
        return bytes((GENERAL_SIGNING,)) + _signed(self.heading, self.content) + encode_string(self.signature)

    def verify(self, originator: PublicKey) -> bytes:
        """The content; SecurityError where the signature is not the originator's."""
        originator.verify(_signed(self.heading, self.content), self.signature)
        return self.content


def sign_general(heading: Heading, content: bytes, key: PrivateKey) -> GeneralSigning:
    return GeneralSigning(heading, content, key.sign(_signed(heading, content)))


def decode_general_signing(apdu: bytes) -> GeneralSigning:
    """Not verified yet; DecodeError."""
    if apdu[:1] != bytes((GENERAL_SIGNING,)):
        raise DecodeError(f"not a general-signing APDU: {apdu[:4].hex()}")
    try:
        heading, offset = decode_heading(apdu, 1)
        content, offset = take_octets(apdu, offset)
        signature, offset = take_octets(apdu, offset)
    except IndexError:
        raise DecodeError("a general-signing APDU ends too early") from None
    expect_end(apdu, offset, "a general-signing APDU")
    if not content:
        raise DecodeError("a general-signing APDU that signs nothing")
    return GeneralSigning(heading, content, signature)


def _signed(heading: Heading, content: bytes) -> bytes:
    return heading.encode() + encode_string(content)
