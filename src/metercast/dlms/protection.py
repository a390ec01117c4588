"""Protection of the APDUs of one association: counters that rise both ways, and no answer below what was asked."""

from collections.abc import Callable, Iterator

from metercast.dlms.ciphering import MAX_COUNTER, PLAIN_TAGS, Cipher, decode_glo, encode_glo
from metercast.dlms.errors import CountersExhausted, LocalProtocolError, SecurityError, UnexpectedAnswer
from metercast.dlms.service_error import CONFIRMED_SERVICE_ERROR, EXCEPTION_RESPONSE

Counters = Iterator[int] | Callable[[], int]
"""Gives the next invocation counter, or raises StopIteration or CountersExhausted."""

NO_COUNTERS: Iterator[int] = iter(())

_EVER_PLAIN = frozenset({EXCEPTION_RESPONSE, CONFIRMED_SERVICE_ERROR})


class Protector:
    """`control` is the control octet to send and to demand, 0 for none.

    `peer_title` must be known before anything ciphered can be read.
    """

    def __init__(self, cipher: Cipher | None, control: int, system_title: bytes, counters: Counters) -> None:
        self._cipher = cipher
        self._title = system_title
        self._next = counters if callable(counters) else counters.__next__
        self._last_sent = -1
        self.control = control
        self.peer_title: bytes | None = None
        self.last_received = -1

    @property
    def cipher(self) -> Cipher:
        if self._cipher is None:
            raise LocalProtocolError("there are no keys")
        return self._cipher

    def next_counter(self) -> int:
        """CountersExhausted where none is left; LocalProtocolError where the source does not rise."""
        try:
            counter = self._next()
        except StopIteration:
            raise CountersExhausted("no invocation counter is left") from None
        if counter > MAX_COUNTER:
            raise CountersExhausted(f"invocation counter {counter} does not fit 32 bits")
        if counter <= self._last_sent:
            raise LocalProtocolError(f"invocation counter {counter} after {self._last_sent}: a nonce must not repeat")
        self._last_sent = counter
        return counter

    def protect(self, apdu: bytes) -> bytes:
        """The APDU as it goes out."""
        if not self.control:
            return apdu
        return encode_glo(self.cipher, self.control, self._title, self.next_counter(), apdu)

    def unprotect(self, apdu: bytes) -> bytes:
        """The plain APDU.

        SecurityError: less protection than demanded (exception-response and confirmed-service-error may come plain:
        they carry no data), a forged tag, a counter that does not rise.
        """
        if apdu[0] not in PLAIN_TAGS:
            if self.control and apdu[0] not in _EVER_PLAIN:
                raise SecurityError(f"an unprotected APDU 0x{apdu[0]:02X} where protection is demanded")
            return apdu
        if self._cipher is None:
            raise UnexpectedAnswer(f"a ciphered APDU 0x{apdu[0]:02X}, and there are no keys")
        if self.peer_title is None:
            raise SecurityError("a ciphered APDU of a sender whose system title is not known")
        control, counter, plaintext = decode_glo(self._cipher, self.peer_title, apdu)
        if control & self.control != self.control:
            raise SecurityError(f"security control 0x{control:02X} where 0x{self.control:02X} is demanded")
        self.accept_counter(counter)
        return plaintext

    def accept_counter(self, counter: int) -> None:
        if counter <= self.last_received:
            raise SecurityError(f"received invocation counter {counter} after {self.last_received}")
        self.last_received = counter
