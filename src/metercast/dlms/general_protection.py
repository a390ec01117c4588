"""General-glo-ciphering and general-ded-ciphering: any APDU, with its sender's system title (catalogue 2.5)."""

from typing import Final, NamedTuple

from metercast.dlms.axdr import encode_length, expect_end, take_octets
from metercast.dlms.ciphering import TITLE_SIZE, Cipher, Unprotected
from metercast.dlms.errors import DecodeError, IdentityError, SecurityError

GENERAL_GLO: Final = 0xDB
GENERAL_DED: Final = 0xDC
GENERAL_OVERHEAD: Final = 1 + TITLE_SIZE
"""Octets more than the service-specific form of the same APDU takes."""


class GeneralCiphered(NamedTuple):
    """`system_title` is the sender's, empty where it is left out; `body` begins with the security control."""

    dedicated: bool
    system_title: bytes
    body: bytes


def encode_general(
    tag: int, cipher: Cipher, security_control: int, system_title: bytes, counter: int, apdu: bytes
) -> bytes:
    """The general form of a plain APDU; `tag` is GENERAL_GLO or GENERAL_DED, and `cipher` has the key for it."""
    body = cipher.protect(security_control, system_title, counter, apdu)
    return bytes((tag, TITLE_SIZE)) + system_title + encode_length(len(body)) + body


def split_general(apdu: bytes) -> GeneralCiphered:
    """What stands in a general-glo- or general-ded-ciphering APDU, still ciphered; DecodeError."""
    if apdu[:1] not in (b"\xdb", b"\xdc"):
        raise DecodeError(f"not a general ciphered APDU: {apdu[:4].hex()}")
    try:
        title, offset = take_octets(apdu, 1)
        body, offset = take_octets(apdu, offset)
    except IndexError:
        raise DecodeError("a general ciphered APDU ends too early") from None
    expect_end(apdu, offset, "a general ciphered APDU")
    if len(title) not in (0, TITLE_SIZE):
        raise DecodeError(f"a system title of {len(title)} octets in a general ciphered APDU")
    return GeneralCiphered(apdu[0] == GENERAL_DED, title, body)


def decode_general(cipher: Cipher, system_title: bytes | None, apdu: bytes) -> Unprotected:
    """Checks and deciphers; `system_title` is the expected sender's, or None where the APDU's own is trusted.

    IdentityError where the APDU names another sender. SecurityError as with `Cipher.unprotect`, and where nobody says
    who the sender is.
    """
    _, title, body = split_general(apdu)
    if title and system_title is not None and title != system_title:
        raise IdentityError(f"an APDU of the system title {title.hex()}, not of {system_title.hex()}")
    sender = title or system_title
    if not sender:
        raise SecurityError("a ciphered APDU of a sender whose system title is not known")
    unprotected = cipher.unprotect(body, sender)
    if not unprotected.plaintext:
        raise DecodeError("nothing stands inside a general ciphered APDU")
    return unprotected
