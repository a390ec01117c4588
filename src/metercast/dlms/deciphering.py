"""Opens what others ciphered, as a reader of a trace does: several keys to try, titles and dedicated keys learnt."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from metercast.dlms.axdr import take_octets
from metercast.dlms.ciphering import BROADCAST, DED_PLAIN_TAGS, HEADER_SIZE, PLAIN_TAGS, SUITE_MASK, Cipher
from metercast.dlms.errors import DecodeError, DlmsError, SecurityError
from metercast.dlms.general_ciphering import GeneralCiphering, IdentifiedKey
from metercast.dlms.general_protection import GENERAL_DED, GENERAL_GLO, split_general

CIPHERED_TAGS: Final = frozenset(PLAIN_TAGS) | frozenset(DED_PLAIN_TAGS) | {GENERAL_GLO, GENERAL_DED}
_REQUESTS: Final = frozenset({0x01, 0xC0, 0xC1, 0xC3})


class Keys(NamedTuple):
    """What deciphering needs; a title that is None is taken from the AARQ or AARE, or the APDU itself.

    Of 16 octets for suites 0 and 1, of 32 for suite 2. The broadcast key set is tried with the same encryption key.
    """

    encryption_key: bytes
    authentication_key: bytes
    client_system_title: bytes | None = None
    server_system_title: bytes | None = None

    def __repr__(self) -> str:
        return "Keys()"


class CipheredApdu(NamedTuple):
    """Split, still ciphered. `plain_tag` None: any APDU may stand inside; `title` is empty where it tells none."""

    dedicated: bool
    plain_tag: int | None
    title: bytes
    body: bytes

    @property
    def security_control(self) -> int:
        return self.body[0]

    @property
    def counter(self) -> int:
        return int.from_bytes(self.body[1:HEADER_SIZE], "big")


def split_ciphered(apdu: bytes) -> CipheredApdu:
    """DecodeError where it is none, or its lengths don't fit."""
    if not apdu:
        raise DecodeError("no octets: no ciphered APDU")
    tag = apdu[0]
    if tag in (GENERAL_GLO, GENERAL_DED):
        general = split_general(apdu)
        found = CipheredApdu(general.dedicated, None, general.system_title, general.body)
    else:
        dedicated = tag in DED_PLAIN_TAGS
        plain = (DED_PLAIN_TAGS if dedicated else PLAIN_TAGS).get(tag)
        if plain is None:
            raise DecodeError(f"0x{tag:02X} begins no ciphered APDU that is known here")
        try:
            body, end = take_octets(apdu, 1)
        except IndexError:
            raise DecodeError("a ciphered APDU ends too early") from None
        if end != len(apdu):
            raise DecodeError("a ciphered APDU whose length does not fit")
        found = CipheredApdu(dedicated, plain, b"", body)
    if len(found.body) < HEADER_SIZE:
        raise DecodeError("a ciphered APDU without a whole security header")
    return found


class KeyRing:
    """The keys for one association; those that opened something are tried first."""

    def __init__(self, keys: Sequence[Keys] = ()) -> None:
        self._keys = list(keys)
        self._titles: dict[bool, bytes] = {}  # by whether it is the client's
        self._dedicated: Keys | None = None

    def learn_title(self, title: bytes, *, of_client: bool) -> None:
        self._titles[of_client] = title

    def learn_dedicated_key(self, key: bytes) -> None:
        """As an InitiateRequest brings it, which the first of the keys opened."""
        if self._keys:
            self._dedicated = self._keys[0]._replace(encryption_key=key)

    def open(self, ciphered: CipheredApdu) -> bytes | None:
        """The plain APDU; None where there is no key or nobody says who the sender is. SecurityError where no key
        fits."""
        wrong: DlmsError | None = None
        candidates = ([self._dedicated] if self._dedicated else []) if ciphered.dedicated else self._keys
        for position, keys in enumerate(candidates):
            for title in self._senders(ciphered, keys):
                try:
                    plaintext = _opened(ciphered, keys, title)
                except DlmsError as error:
                    wrong = wrong or error
                    continue
                if not ciphered.dedicated:
                    self._keys.insert(0, self._keys.pop(position))
                return plaintext
        if wrong is not None:
            raise wrong
        return None

    def open_general(self, ciphering: GeneralCiphering) -> bytes | None:
        """As `open`, of an APDU from an originator to a recipient; None also where its key is wrapped or agreed on."""
        if not isinstance(ciphering.key_info, IdentifiedKey | None):
            return None
        wrong: DlmsError | None = None
        suite = ciphering.body[0] & SUITE_MASK if ciphering.body else 0
        for keys in self._keys:
            try:
                return ciphering.unprotect(keys.encryption_key, keys.authentication_key, suite).plaintext
            except DlmsError as error:
                wrong = wrong or error
        if wrong is not None:
            raise wrong
        return None

    def _senders(self, ciphered: CipheredApdu, keys: Keys) -> list[bytes]:
        """Titles that the sender may have."""
        if ciphered.title:
            return [ciphered.title]
        client = self._titles.get(True) or keys.client_system_title
        server = self._titles.get(False) or keys.server_system_title
        if ciphered.plain_tag is None:
            return [title for title in (client, server) if title is not None]
        title = client if ciphered.plain_tag in _REQUESTS else server
        return [] if title is None else [title]


def _opened(ciphered: CipheredApdu, keys: Keys, title: bytes) -> bytes:
    control = ciphered.security_control
    suite, broadcast = control & SUITE_MASK, bool(control & BROADCAST)
    cipher = Cipher(keys.encryption_key, keys.authentication_key, suite, broadcast=broadcast)
    plaintext = cipher.unprotect(ciphered.body, title).plaintext
    if not plaintext or ciphered.plain_tag not in (None, plaintext[0]):
        raise SecurityError(f"inside a ciphered APDU stands 0x{plaintext[:1].hex()}")
    return plaintext
