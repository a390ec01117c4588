"""Ciphering on one connection: the meter's keys, its system title, and counters that must rise (catalogue 2.5, 2.7)."""

from metercast.dlms.ciphering import GLO_TAGS, MAX_COUNTER, Cipher, decode_glo, encode_glo
from metercast.dlms.errors import SecurityError
from metercast.dlms.general_protection import GENERAL_GLO, encode_general
from metercast.dlms.hls import prove, verify
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


class SecureChannel:
    """`title` is the system title that the meter shows on this connection."""

    __slots__ = ("_faults", "_floor", "_observer", "_security", "title")

    def __init__(self, security: MeterSecurity, title: bytes, faults: SessionFaults, observer: Observer) -> None:
        self._security, self._faults, self._observer = security, faults, observer
        self._floor = 0
        self.title = title

    @property
    def _cipher(self) -> Cipher:
        return self._security.cipher(wrong=self._faults.wrong_key)

    def take_plain(self) -> None:
        """An APDU came that was not ciphered."""
        self._floor = self._security.client_counter

    def decipher(self, apdu: bytes, client_title: bytes) -> tuple[bytes, int]:
        """(plain APDU, security control); raises SecurityError, and OutOfStep or Silence at an old counter."""
        try:
            opened = decode_glo(self._cipher, client_title, apdu)
        except SecurityError:
            if self._faults.wrong_key:
                self._observer.fault_played("wrong-key")
            raise
        last = self._security.client_counter
        if opened.counter <= last:
            if self._faults.silent_counter:
                self._observer.fault_played("stale-counter")
                raise Silence
            raise OutOfStep(last + 1)
        self._floor = last
        self._security.client_counter = opened.counter
        return opened.plaintext, opened.security_control

    def encipher(self, apdu: bytes, control: int) -> bytes:
        """The service-specific form or, where the APDU has none, general-glo-ciphering."""
        counter = self._security.next_counter()
        if apdu[0] in GLO_TAGS:
            return encode_glo(self._cipher, control, self.title, counter, apdu)
        return encode_general(GENERAL_GLO, self._cipher, control, self.title, counter, apdu)

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
