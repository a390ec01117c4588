"""Ciphering on one connection: the meter's keys, its system title, and counters that must rise (catalogue 2.5, 2.7)."""

from typing import NamedTuple

from metercast.dlms.axdr import take_octets
from metercast.dlms.ciphering import (
    BOTH,
    BROADCAST,
    DED_PLAIN_TAGS,
    GLO_TAGS,
    MAX_COUNTER,
    Cipher,
    Unprotected,
    decode_ded,
    decode_glo,
    encode_ded,
    encode_glo,
    overhead,
)
from metercast.dlms.errors import DecodeError, SecurityError
from metercast.dlms.general_protection import (
    GENERAL_DED,
    GENERAL_GLO,
    GENERAL_OVERHEAD,
    decode_general,
    encode_general,
    split_general,
)
from metercast.dlms.hls import prove, verify
from metercast.dlms.initiate import INITIATE_RESPONSE
from metercast.dlms.service_error import ExceptionResponse, ServiceErrorCode, StateError
from metercast.simulator.observer import Observer
from metercast.simulator.security import MeterSecurity
from metercast.simulator.session_faults import SessionFaults


class OutOfStep(Exception):
    """The client's invocation counter was used before; `answer` tells the one expected."""

    def __init__(self, expected: int) -> None:
        super().__init__()
        code = ServiceErrorCode.INVOCATION_COUNTER_ERROR
        counter = min(expected, MAX_COUNTER)
        self.answer = ExceptionResponse(StateError.SERVICE_NOT_ALLOWED, code, counter).encode()


class Silence(Exception):
    """The meter drops the APDU without a word."""


class Seal(NamedTuple):
    """How an APDU came protected: the answer to it goes back in the same way. `control` 0: not at all."""

    control: int = 0
    general: bool = False
    dedicated: bool = False
    broadcast: bool = False

    def overhead(self, size: int) -> int:
        """How many octets longer an APDU of `size` octets gets."""
        if not self.control:
            return 0
        return overhead(self.control, size) + (GENERAL_OVERHEAD if self.general else 0)


PLAIN = Seal()


class SecureChannel:
    """`title` is the system title that the meter shows on this connection."""

    __slots__ = ("_dedicated", "_dedicated_counter", "_faults", "_floor", "_observer", "_security", "title")

    def __init__(self, security: MeterSecurity, title: bytes, faults: SessionFaults, observer: Observer) -> None:
        self._security, self._faults, self._observer = security, faults, observer
        self._floor = 0
        self._dedicated: Cipher | None = None
        self._dedicated_counter = -1
        self.title = title

    @property
    def _cipher(self) -> Cipher:
        return self._security.cipher(wrong=self._faults.wrong_key)

    def dedicate(self, key: bytes | None) -> None:
        """The association that begins has this key of its own, or none. EncodeError where its size is wrong."""
        self._dedicated = None if key is None else self._security.dedicated_cipher(key)
        self._dedicated_counter = -1

    def take_plain(self) -> None:
        """An APDU came that was not ciphered."""
        self._floor = self._security.client_counter

    def decipher(self, apdu: bytes, client_title: bytes) -> tuple[bytes, Seal]:
        """(plain APDU, how it was sealed); raises SecurityError, and OutOfStep or Silence at an old counter."""
        general = apdu[0] in (GENERAL_GLO, GENERAL_DED)
        dedicated = apdu[0] == GENERAL_DED or apdu[0] in DED_PLAIN_TAGS
        broadcast = not dedicated and bool(_control_of(apdu) & BROADCAST)
        try:
            opened = self._open(apdu, client_title, Seal(0, general, dedicated, broadcast))
        except SecurityError:
            if self._faults.wrong_key:
                self._observer.fault_played("wrong-key")
            raise
        self._floor = self._security.client_counter
        if dedicated:
            self._dedicated_counter = self._risen(opened.counter, self._dedicated_counter)
        elif broadcast:
            self._security.broadcast_counter = self._risen(opened.counter, self._security.broadcast_counter)
        else:
            self._security.client_counter = self._risen(opened.counter, self._security.client_counter)
        return opened.plaintext, Seal(opened.security_control & BOTH, general, dedicated, broadcast)

    def encipher(self, apdu: bytes, seal: Seal) -> bytes:
        """As `seal` says; an APDU without a service-specific form in the general one."""
        cipher, counter = self._cipher_of(seal), self._security.next_counter()
        if apdu[0] not in GLO_TAGS or (seal.general and apdu[0] != INITIATE_RESPONSE):
            tag = GENERAL_DED if seal.dedicated else GENERAL_GLO
            return encode_general(tag, cipher, seal.control, self.title, counter, apdu)
        encode = encode_ded if seal.dedicated else encode_glo
        return encode(cipher, seal.control, self.title, counter, apdu)

    def check_proof(self, client_title: bytes, challenge: bytes, proof: bytes) -> None:
        """Pass 3; SecurityError where it proves nothing.

        The counter inside may be that of the APDU that carried it, which was accepted just before.
        """
        counter = verify(self._cipher, client_title, challenge, proof)
        if counter <= self._floor:
            raise SecurityError("the proof's invocation counter was used before")
        self._security.client_counter = max(self._security.client_counter, counter)

    def prove(self, challenge: bytes) -> bytes:
        """Pass 4, with a counter of its own."""
        return prove(self._cipher, self.title, self._security.next_counter(), challenge)

    def _open(self, apdu: bytes, client_title: bytes, seal: Seal) -> Unprotected:
        cipher = self._cipher_of(seal)
        if seal.general:
            return decode_general(cipher, client_title, apdu)
        return (decode_ded if seal.dedicated else decode_glo)(cipher, client_title, apdu)

    def _cipher_of(self, seal: Seal) -> Cipher:
        if seal.dedicated:
            cipher = self._dedicated
        elif seal.broadcast:
            cipher = self._security.broadcast_cipher()
        else:
            cipher = self._cipher
        if cipher is None:
            raise SecurityError("an APDU under a key that this meter does not hold")
        return cipher

    def _risen(self, counter: int, last: int) -> int:
        if counter <= last:
            if self._faults.silent_counter:
                self._observer.fault_played("stale-counter")
                raise Silence
            raise OutOfStep(last + 1)
        return counter


def _control_of(apdu: bytes) -> int:
    """The security control octet; DecodeError where there is none."""
    try:
        if apdu[0] in (GENERAL_GLO, GENERAL_DED):
            return split_general(apdu).body[0]
        return take_octets(apdu, 1)[0][0]
    except IndexError:
        raise DecodeError("a ciphered APDU ends too early") from None
