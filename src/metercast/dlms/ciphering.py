"""Suite 0: AES-GCM-128 protection of one APDU (catalogue 2.4 and 2.5, IEC 62056-5-3 clause 5.3)."""

from hmac import compare_digest
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from metercast.dlms.axdr import encode_length, take_octets
from metercast.dlms.errors import DecodeError, EncodeError, SecurityError

AUTHENTICATED: Final = 0x10
ENCRYPTED: Final = 0x20
BOTH: Final = AUTHENTICATED | ENCRYPTED
SUITE_MASK: Final = 0x0F
TAG_SIZE: Final = 12
HEADER_SIZE: Final = 5  # security control and invocation counter
KEY_SIZE: Final = 16
TITLE_SIZE: Final = 8
MAX_COUNTER: Final = 0xFFFFFFFF

GLO_TAGS: Final[dict[int, int]] = {
    0x01: 0x21,
    0x08: 0x28,
    0x0E: 0x2E,
    0xC0: 0xC8,
    0xC1: 0xC9,
    0xC2: 0xCA,
    0xC3: 0xCB,
    0xC4: 0xCC,
    0xC5: 0xCD,
    0xC7: 0xCF,
}
"""Tag of a plain APDU -> tag of its service-specific globally ciphered form."""
PLAIN_TAGS: Final[dict[int, int]] = {glo: plain for plain, glo in GLO_TAGS.items()}


class Unprotected(NamedTuple):
    security_control: int
    counter: int
    plaintext: bytes


class Cipher:
    """One unicast encryption key and one authentication key. Never printed."""

    __slots__ = ("_aad", "_authentication_key", "_gcm")

    def __init__(self, encryption_key: bytes, authentication_key: bytes) -> None:
        """EncodeError where a key has not 16 octets."""
        if len(encryption_key) != KEY_SIZE or len(authentication_key) != KEY_SIZE:
            raise EncodeError(f"a key of suite 0 has {KEY_SIZE} octets")
        self._gcm = AESGCM(encryption_key)
        self._authentication_key = authentication_key
        self._aad = b"\x30" + authentication_key

    def __repr__(self) -> str:
        return "Cipher()"

    def protect(self, security_control: int, system_title: bytes, counter: int, plaintext: bytes) -> bytes:
        """Security control, invocation counter and payload. `system_title` is the sender's.

        A pair of title and counter must never be used twice with one key.
        """
        if not 0 <= counter <= MAX_COUNTER or len(system_title) != TITLE_SIZE:
            raise EncodeError(f"counter {counter} or a system title of {len(system_title)} octets")
        octets = counter.to_bytes(4, "big")
        nonce = system_title + octets
        if security_control == BOTH:
            return b"\x30" + octets + self._gcm.encrypt(nonce, plaintext, self._aad)[:-4]
        if security_control == AUTHENTICATED:
            return b"\x10" + octets + plaintext + self._authenticate(nonce, plaintext)
        if security_control == ENCRYPTED:
            return b"\x20" + octets + self._gcm.encrypt(nonce, plaintext, None)[:-16]
        raise EncodeError(f"security control 0x{security_control:02X} is not of suite 0 with a unicast key")

    def unprotect(self, body: bytes, system_title: bytes) -> Unprotected:
        """Checks and deciphers what `protect` made; `system_title` is the sender's.

        SecurityError: another suite, key set or compression, no protection at all, a tag that is missing or wrong.
        GCM is a counter mode, so enciphering a ciphertext gives its plaintext; the tag of that plaintext, cut to 12
        octets, must then be the tag received.
        """
        if len(body) < HEADER_SIZE:
            raise DecodeError(f"a ciphered APDU of {len(body)} octets has no security header")
        if len(system_title) != TITLE_SIZE:
            raise SecurityError(f"the sender's system title has {len(system_title)} octets, not {TITLE_SIZE}")
        security_control = body[0]
        nonce = system_title + body[1:5]
        counter = int.from_bytes(body[1:5], "big")
        if security_control == ENCRYPTED:
            return Unprotected(security_control, counter, self._gcm.encrypt(nonce, body[5:], None)[:-16])
        if security_control not in (BOTH, AUTHENTICATED):
            raise SecurityError(f"security control 0x{security_control:02X} is not of suite 0 with a unicast key")
        if len(body) < HEADER_SIZE + TAG_SIZE:
            raise SecurityError("the authentication tag is cut short")
        payload, tag = body[5:-TAG_SIZE], body[-TAG_SIZE:]
        if security_control == BOTH:
            plaintext = self._gcm.encrypt(nonce, payload, None)[:-16]
            expected = self._gcm.encrypt(nonce, plaintext, self._aad)[-16:-4]
        else:
            plaintext = payload
            expected = self._authenticate(nonce, payload)
        if not compare_digest(tag, expected):
            raise SecurityError("the authentication tag is wrong")
        return Unprotected(security_control, counter, plaintext)

    def authenticate(self, system_title: bytes, counter: int, octets: bytes) -> bytes:
        """The 12-octet tag over security control 10, the authentication key and `octets`."""
        if not 0 <= counter <= MAX_COUNTER or len(system_title) != TITLE_SIZE:
            raise EncodeError(f"counter {counter} or a system title of {len(system_title)} octets")
        return self._authenticate(system_title + counter.to_bytes(4, "big"), octets)

    def _authenticate(self, nonce: bytes, octets: bytes) -> bytes:
        return self._gcm.encrypt(nonce, b"", b"\x10" + self._authentication_key + octets)[:TAG_SIZE]


def overhead(security_control: int, size: int) -> int:
    """How many octets longer an APDU of `size` octets gets."""
    body = size + HEADER_SIZE + (TAG_SIZE if security_control & AUTHENTICATED else 0)
    return 1 + len(encode_length(body)) + body - size


def encode_glo(cipher: Cipher, security_control: int, system_title: bytes, counter: int, apdu: bytes) -> bytes:
    """The service-specific globally ciphered form of a plain APDU; EncodeError where it has none."""
    tag = GLO_TAGS.get(apdu[0])
    if tag is None:
        raise EncodeError(f"an APDU 0x{apdu[0]:02X} has no globally ciphered form")
    body = cipher.protect(security_control, system_title, counter, apdu)
    size = len(body)
    head = bytes((tag, size)) if size < 0x80 else bytes((tag,)) + encode_length(size)
    return head + body


def decode_glo(cipher: Cipher, system_title: bytes, apdu: bytes) -> Unprotected:
    """Checks and deciphers a service-specific globally ciphered APDU of the sender with `system_title`.

    SecurityError also where the tag outside is not that of the APDU inside.
    """
    plain_tag = PLAIN_TAGS.get(apdu[0]) if apdu else None
    if plain_tag is None:
        raise DecodeError(f"not a globally ciphered APDU: {apdu[:4].hex()}")
    size = len(apdu)
    if 1 < size < 0x82 and apdu[1] == size - 2:
        body = apdu[2:]
    else:
        try:
            body, end = take_octets(apdu, 1)
        except IndexError:
            raise DecodeError("a globally ciphered APDU ends too early") from None
        if end != size:
            raise DecodeError(f"{size - end} octets too many behind a globally ciphered APDU")
    unprotected = cipher.unprotect(body, system_title)
    inner = unprotected.plaintext[:1]
    if inner != bytes((plain_tag,)):
        raise SecurityError(f"inside a globally ciphered APDU stands 0x{inner.hex()}, not 0x{plain_tag:02x}")
    return unprotected
