"""Suites 0 to 2: AES-GCM protection of one APDU (catalogue 2.4 and 2.5, IEC 62056-5-3 clause 5.3)."""

from hmac import compare_digest
from typing import Final

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from metercast.dlms.axdr import encode_length, take_octets
from metercast.dlms.errors import DecodeError, DowngradeError, EncodeError, SecurityError

SUITES: Final = (0, 1, 2)
AUTHENTICATED: Final = 0x10
ENCRYPTED: Final = 0x20
BOTH: Final = AUTHENTICATED | ENCRYPTED
BROADCAST: Final = 0x40  # the key set
SUITE_MASK: Final = 0x0F
TAG_SIZE: Final = 12
HEADER_SIZE: Final = 5  # security control and invocation counter
KEY_SIZES: Final = (16, 16, 32)
"""Octets of an encryption or authentication key, by suite: AES-128, AES-128, AES-256."""
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
"""Tag of a plain APDU -> tag of its service-specific form under a global key."""
DED_TAGS: Final[dict[int, int]] = {
    0x01: 0x41,
    0x08: 0x48,
    0x0E: 0x4E,
    0xC0: 0xD0,
    0xC1: 0xD1,
    0xC2: 0xD2,
    0xC3: 0xD3,
    0xC4: 0xD4,
    0xC5: 0xD5,
    0xC7: 0xD7,
}
"""Tag of a plain APDU -> tag of its service-specific form under a dedicated key."""
PLAIN_TAGS: Final[dict[int, int]] = {glo: plain for plain, glo in GLO_TAGS.items()}
DED_PLAIN_TAGS: Final[dict[int, int]] = {ded: plain for plain, ded in DED_TAGS.items()}


_CONTROLS: Final = {
    marks: tuple(bytes((how | marks,)) for how in (BOTH, AUTHENTICATED, ENCRYPTED))
    for marks in (suite | key_set for suite in SUITES for key_set in (0, BROADCAST))
}
"""The security control octets of a suite and key set: both, authenticated, encrypted."""


class Unprotected(msgspec.Struct, frozen=True, gc=False):
    security_control: int
    counter: int
    plaintext: bytes


class Cipher:
    """One encryption key, global or dedicated, with the authentication key that goes with it. Never printed."""

    __slots__ = ("_authenticated", "_authenticated_aad", "_both", "_both_aad", "_encrypted", "_gcm", "_marks")

    def __init__(
        self,
        encryption_key: bytes,
        authentication_key: bytes,
        suite: int = 0,
        *,
        broadcast: bool = False,
        heading: bytes = b"",
    ) -> None:
        """`broadcast`: the encryption key is that of the broadcast key set. `heading` is authenticated with every
        APDU, as general-ciphering does. EncodeError where a size is wrong."""
        if suite not in SUITES:
            raise EncodeError(f"security suite {suite} is not known")
        size = KEY_SIZES[suite]
        if len(encryption_key) != size or len(authentication_key) != size:
            raise EncodeError(f"a key of suite {suite} has {size} octets")
        self._gcm = AESGCM(encryption_key)
        self._marks = suite | (BROADCAST if broadcast else 0)
        self._both, self._authenticated, self._encrypted = _CONTROLS[self._marks]
        self._both_aad = self._both + authentication_key + heading
        self._authenticated_aad = self._authenticated + authentication_key + heading

    def __repr__(self) -> str:
        return "Cipher()"

    @property
    def authenticated_control(self) -> int:
        """The security control octet of what is only authenticated."""
        return self._authenticated[0]

    def protect(self, security_control: int, system_title: bytes, counter: int, plaintext: bytes) -> bytes:
        """Security control, invocation counter and payload. `system_title` is the sender's.

        `security_control` says authenticated, encrypted or both; its suite and key set are this cipher's, and may be
        left out. A pair of title and counter must never be used twice with one key.
        """
        if not 0 <= counter <= MAX_COUNTER or len(system_title) != TITLE_SIZE:
            raise EncodeError(f"counter {counter} or a system title of {len(system_title)} octets")
        octets = counter.to_bytes(4, "big")
        nonce = system_title + octets
        how = security_control & BOTH
        if security_control != how and security_control != how | self._marks:
            raise EncodeError(f"security control 0x{security_control:02X} is not of {self._name}")
        if how == BOTH:
            return self._both + octets + self._gcm.encrypt(nonce, plaintext, self._both_aad)[:-4]
        if how == AUTHENTICATED:
            return self._authenticated + octets + plaintext + self._authenticate(nonce, plaintext)
        if how == ENCRYPTED:
            return self._encrypted + octets + self._gcm.encrypt(nonce, plaintext, None)[:-16]
        raise EncodeError(f"security control 0x{security_control:02X} protects nothing")

    def unprotect(self, body: bytes, system_title: bytes) -> Unprotected:
        """Checks and deciphers what `protect` made; `system_title` is the sender's.

        DowngradeError: another suite, key set or compression, no protection at all. SecurityError: a tag that is
        missing or wrong.
        GCM is a counter mode, so enciphering a ciphertext gives its plaintext; the tag of that plaintext, cut to 12
        octets, must then be the tag received.
        """
        if len(body) < HEADER_SIZE:
            raise DecodeError(f"a ciphered APDU of {len(body)} octets has no security header")
        if len(system_title) != TITLE_SIZE:
            raise SecurityError(f"the sender's system title has {len(system_title)} octets, not {TITLE_SIZE}")
        security_control = body[0]
        how = security_control & BOTH
        if security_control != how | self._marks or not how:
            raise DowngradeError(f"security control 0x{security_control:02X} is not of {self._name}")
        octets = body[1:5]
        nonce = system_title + octets
        counter = int.from_bytes(octets, "big")
        if how == ENCRYPTED:
            return Unprotected(security_control, counter, self._gcm.encrypt(nonce, body[5:], None)[:-16])
        if len(body) < HEADER_SIZE + TAG_SIZE:
            raise SecurityError("the authentication tag is cut short")
        payload, tag = body[5:-TAG_SIZE], body[-TAG_SIZE:]
        if how == BOTH:
            plaintext = self._gcm.encrypt(nonce, payload, None)[:-16]
            expected = self._gcm.encrypt(nonce, plaintext, self._both_aad)[-16:-4]
        else:
            plaintext = payload
            expected = self._authenticate(nonce, payload)
        if not compare_digest(tag, expected):
            raise SecurityError("the authentication tag is wrong")
        return Unprotected(security_control, counter, plaintext)

    def authenticate(self, system_title: bytes, counter: int, octets: bytes) -> bytes:
        """The 12-octet tag over the control octet "authenticated", the authentication key and `octets`."""
        if not 0 <= counter <= MAX_COUNTER or len(system_title) != TITLE_SIZE:
            raise EncodeError(f"counter {counter} or a system title of {len(system_title)} octets")
        return self._authenticate(system_title + counter.to_bytes(4, "big"), octets)

    def _authenticate(self, nonce: bytes, octets: bytes) -> bytes:
        return self._gcm.encrypt(nonce, b"", self._authenticated_aad + octets)[:TAG_SIZE]

    @property
    def _name(self) -> str:
        key_set = "broadcast" if self._marks & BROADCAST else "unicast"
        return f"suite {self._marks & SUITE_MASK} with a {key_set} key"


def overhead(security_control: int, size: int) -> int:
    """How many octets longer an APDU of `size` octets gets."""
    body = size + HEADER_SIZE + (TAG_SIZE if security_control & AUTHENTICATED else 0)
    return 1 + len(encode_length(body)) + body - size


def encode_glo(cipher: Cipher, security_control: int, system_title: bytes, counter: int, apdu: bytes) -> bytes:
    """The service-specific form of a plain APDU under a global key; EncodeError where it has none."""
    return encode_specific(GLO_TAGS, cipher, security_control, system_title, counter, apdu)


def encode_ded(cipher: Cipher, security_control: int, system_title: bytes, counter: int, apdu: bytes) -> bytes:
    """The service-specific form of a plain APDU under a dedicated key; EncodeError where it has none."""
    return encode_specific(DED_TAGS, cipher, security_control, system_title, counter, apdu)


def decode_glo(cipher: Cipher, system_title: bytes, apdu: bytes) -> Unprotected:
    """Checks and deciphers a service-specific APDU under a global key, of the sender with `system_title`.

    SecurityError also where the tag outside is not that of the APDU inside.
    """
    return decode_specific(PLAIN_TAGS, cipher, system_title, apdu)


def decode_ded(cipher: Cipher, system_title: bytes, apdu: bytes) -> Unprotected:
    """As `decode_glo`, under a dedicated key."""
    return decode_specific(DED_PLAIN_TAGS, cipher, system_title, apdu)


def encode_specific(
    tags: dict[int, int], cipher: Cipher, security_control: int, system_title: bytes, counter: int, apdu: bytes
) -> bytes:
    """The service-specific form of a plain APDU; `tags` are GLO_TAGS or DED_TAGS."""
    tag = tags.get(apdu[0])
    if tag is None:
        raise EncodeError(f"an APDU 0x{apdu[0]:02X} has no service-specific ciphered form")
    body = cipher.protect(security_control, system_title, counter, apdu)
    size = len(body)
    head = bytes((tag, size)) if size < 0x80 else bytes((tag,)) + encode_length(size)
    return head + body


def decode_specific(tags: dict[int, int], cipher: Cipher, system_title: bytes, apdu: bytes) -> Unprotected:
    """Checks and deciphers a service-specific APDU; `tags` are PLAIN_TAGS or DED_PLAIN_TAGS."""
    plain_tag = tags.get(apdu[0]) if apdu else None
    if plain_tag is None:
        raise DecodeError(f"not a service-specific ciphered APDU: {apdu[:4].hex()}")
    size = len(apdu)
    if 1 < size < 0x82 and apdu[1] == size - 2:
        body = apdu[2:]
    else:
        try:
            body, end = take_octets(apdu, 1)
        except IndexError:
            raise DecodeError("a ciphered APDU ends too early") from None
        if end != size:
            raise DecodeError(f"{size - end} octets too many behind a ciphered APDU")
    unprotected = cipher.unprotect(body, system_title)
    plaintext = unprotected.plaintext
    if not plaintext or plaintext[0] != plain_tag:
        raise SecurityError(f"inside a ciphered APDU stands 0x{plaintext[:1].hex()}, not 0x{plain_tag:02x}")
    return unprotected
