"""Protection of the APDUs of one association: counters that rise both ways, and no answer below what was asked."""

from collections.abc import Callable, Iterator

from metercast.dlms.ciphering import (
    DED_PLAIN_TAGS,
    DED_TAGS,
    GLO_TAGS,
    MAX_COUNTER,
    PLAIN_TAGS,
    Cipher,
    Unprotected,
    decode_specific,
    encode_specific,
)
from metercast.dlms.errors import (
    CountersExhausted,
    DecodeError,
    DowngradeError,
    LocalProtocolError,
    ReplayError,
    SecurityError,
    UnexpectedAnswer,
)
from metercast.dlms.general_protection import (
    GENERAL_DED,
    GENERAL_GLO,
    decode_general,
    encode_general,
)
from metercast.dlms.initiate import INITIATE_REQUEST, INITIATE_RESPONSE
from metercast.dlms.notification import NOTIFICATIONS
from metercast.dlms.service_error import CONFIRMED_SERVICE_ERROR, EXCEPTION_RESPONSE

Counters = Iterator[int] | Callable[[], int]
"""Gives the next invocation counter, or raises StopIteration or CountersExhausted."""

NO_COUNTERS: Iterator[int] = iter(())

CIPHERED_TAGS = frozenset(PLAIN_TAGS) | frozenset(DED_PLAIN_TAGS) | {GENERAL_GLO, GENERAL_DED}

# By a ciphered APDU's tag: whether it is under the dedicated key; the plain tags of its form, None of the general one.
_FORMS: dict[int, tuple[bool, dict[int, int] | None]] = {
    **dict.fromkeys(PLAIN_TAGS, (False, PLAIN_TAGS)),
    **dict.fromkeys(DED_PLAIN_TAGS, (True, DED_PLAIN_TAGS)),
    GENERAL_GLO: (False, None),
    GENERAL_DED: (True, None),
}

_EVER_PLAIN = frozenset({EXCEPTION_RESPONSE, CONFIRMED_SERVICE_ERROR})
_EVER_GLOBAL = frozenset({INITIATE_RESPONSE, CONFIRMED_SERVICE_ERROR}) | NOTIFICATIONS  # what is no answer


class Protector:
    """`control` holds the bits "authenticated" and "encrypted" to send and to demand, 0 for none.

    `peer_title` must be known before anything ciphered can be read. `general` chooses the general ciphered form for
    what is sent; what is received may have either form.
    """

    __slots__ = (
        "_cipher",
        "_dedicated",
        "_last_received_dedicated",
        "_last_sent",
        "_next",
        "_title",
        "control",
        "general",
        "last_received",
        "peer_title",
    )

    def __init__(self, cipher: Cipher | None, control: int, system_title: bytes, counters: Counters) -> None:
        self._cipher = cipher
        self._dedicated: Cipher | None = None
        self._title = system_title
        self._next = counters if callable(counters) else counters.__next__
        self._last_sent = -1
        self._last_received_dedicated = -1
        self.control = control
        self.general = False
        self.peer_title: bytes | None = None
        self.last_received = -1

    @property
    def cipher(self) -> Cipher:
        """That of the global key."""
        if self._cipher is None:
            raise LocalProtocolError("there are no keys")
        return self._cipher

    def dedicate(self, cipher: Cipher) -> None:
        """From now on everything but InitiateRequests goes out, and must come back, under the dedicated key.

        The counters sent go on: the two keys share their source. Those received rise on their own for each key.
        """
        self._dedicated = cipher

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
        """The APDU as it goes out: service-specific where it has such a form and `general` is not chosen.

        An InitiateRequest, which is never alone but inside an AARQ or RLRQ, always is a glo-initiate-request.
        """
        control = self.control
        if not control:
            return apdu
        counter, tag, dedicated = self.next_counter(), apdu[0], self._dedicated
        if dedicated is None or tag == INITIATE_REQUEST:
            cipher = self._cipher or self.cipher
            if tag == INITIATE_REQUEST or (not self.general and tag in GLO_TAGS):
                return encode_specific(GLO_TAGS, cipher, control, self._title, counter, apdu)
            return encode_general(GENERAL_GLO, cipher, control, self._title, counter, apdu)
        if tag in DED_TAGS and not self.general:
            return encode_specific(DED_TAGS, dedicated, control, self._title, counter, apdu)
        return encode_general(GENERAL_DED, dedicated, control, self._title, counter, apdu)

    def unprotect(self, apdu: bytes) -> bytes:
        """The plain APDU.

        DowngradeError: less protection than demanded (exception-response and confirmed-service-error may come plain:
        they carry no data), the global key where a dedicated one is in use, another suite or key set. IdentityError:
        another sender. SecurityError: a forged tag. ReplayError: a counter that does not rise.
        """
        tag = apdu[0]
        form = _FORMS.get(tag)
        if form is None:
            if self.control and tag not in _EVER_PLAIN:
                raise DowngradeError(f"an unprotected APDU 0x{tag:02X} where protection is demanded")
            return apdu
        is_dedicated, plain_tags = form
        cipher, title = self._dedicated if is_dedicated else self._cipher, self.peer_title
        if cipher is None:
            raise UnexpectedAnswer(f"a ciphered APDU 0x{tag:02X}, and there are no keys")
        if title is None:
            raise SecurityError("a ciphered APDU of a sender whose system title is not known")
        opened: Unprotected
        if plain_tags is None:
            opened = decode_general(cipher, title, apdu)
        else:
            opened = decode_specific(plain_tags, cipher, title, apdu)
        if not opened.plaintext:
            raise DecodeError("a ciphered APDU of nothing")
        if opened.security_control & self.control != self.control:
            control = f"0x{opened.security_control:02X} where 0x{self.control:02X}"
            raise DowngradeError(f"security control {control} is demanded")
        if is_dedicated:
            self._last_received_dedicated = _risen(opened.counter, self._last_received_dedicated)
        else:
            if self._dedicated is not None and opened.plaintext[0] not in _EVER_GLOBAL:
                raise DowngradeError(f"an APDU 0x{tag:02X} under the global key where the dedicated key is in use")
            self.last_received = _risen(opened.counter, self.last_received)
        return opened.plaintext


def _risen(counter: int, last: int) -> int:
    if counter <= last:
        raise ReplayError(f"received invocation counter {counter} after {last}")
    return counter
