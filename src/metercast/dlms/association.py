"""The client's association: APDUs and wishes in, APDUs and events out (IEC 62056-5-3; catalogue 2)."""

from collections.abc import Callable, Sequence
from enum import IntEnum, auto
from typing import Final

from metercast.dlms.access import ACCESS_RESPONSE
from metercast.dlms.access_transfer import AccessItem
from metercast.dlms.acse import (
    AARE,
    RLRE,
    AssociationResult,
    Rlrq,
    decode_aare,
    decode_rlre,
)
from metercast.dlms.block_exchange import BlockExchange
from metercast.dlms.blocks import SelectedAttribute
from metercast.dlms.client_opening import ClientOpening
from metercast.dlms.cosem import CosemAttribute, CosemMethod, Selection
from metercast.dlms.data import Data
from metercast.dlms.errors import (
    DecodeError,
    DlmsError,
    LocalProtocolError,
    UnexpectedAnswer,
)
from metercast.dlms.events import (
    Associated,
    Event,
    Ignored,
    Notified,
    Rejected,
    Released,
    Send,
    ServiceError,
    Waiting,
)
from metercast.dlms.general_block import GENERAL_BLOCK_TRANSFER
from metercast.dlms.general_protection import GENERAL_DED, GENERAL_GLO
from metercast.dlms.negotiated import AnyTransfer, Negotiated
from metercast.dlms.notification import NOTIFICATIONS, decode_notification
from metercast.dlms.protection import NO_COUNTERS, Counters
from metercast.dlms.service_error import (
    CONFIRMED_SERVICE_ERROR,
    EXCEPTION_RESPONSE,
    decode_confirmed_service_error,
    decode_exception_response,
)
from metercast.dlms.settings import AssociationSettings

_INVOKE_FLAGS: Final = 0xC0  # confirmed service, high priority
_ANSWERS = frozenset({0xC4, 0xC5, 0xC7, ACCESS_RESPONSE})
_ERRORS = frozenset({EXCEPTION_RESPONSE, CONFIRMED_SERVICE_ERROR})
_CIPHERED_ANSWERS = frozenset({0xCC, 0xCD, 0xCF, 0x2E, 0xD4, 0xD5, 0xD7, 0x4E, GENERAL_GLO, GENERAL_DED})
_GENERAL = frozenset({GENERAL_GLO, GENERAL_DED})
_NOTIFICATION_TAGS = NOTIFICATIONS | {0xCA, 0xD2}
_SERVICE_ANSWERS = _ANSWERS | _ERRORS | _CIPHERED_ANSWERS


class State(IntEnum):
    IDLE = auto()
    ASSOCIATING = auto()  # AARQ sent
    AUTHENTICATING = auto()  # pass 3 sent
    ASSOCIATED = auto()
    REQUESTING = auto()
    RELEASING = auto()  # RLRQ sent
    CLOSED = auto()  # refused or released
    BROKEN = auto()  # the peer's bytes were wrong


# By names of their own: to look a member up in its enum costs more than the step that it stands for.
IDLE, ASSOCIATING, AUTHENTICATING, ASSOCIATED, REQUESTING, RELEASING, CLOSED, BROKEN = State

NEXT: Final[dict[tuple[State, str], State]] = {
    (IDLE, "associate"): ASSOCIATING,
    (ASSOCIATED, "get"): REQUESTING,
    (ASSOCIATED, "set"): REQUESTING,
    (ASSOCIATED, "action"): REQUESTING,
    (ASSOCIATED, "access"): REQUESTING,
    (ASSOCIATED, "release"): RELEASING,
}
"""(state, wish) -> state; a wish that is absent raises LocalProtocolError."""

_NOTHING: Final = Negotiated()
_ENDED: Final = frozenset({CLOSED, BROKEN})


class ClientAssociation:
    """One association, from AARQ to RLRE; one service at a time.

    `counters` gives the invocation counters to send with. `challenge` is CtoS, 8 to 64 random octets where HLS is
    used, and `dedicated_key` as many as the suite's keys have where the settings ask for one. After a
    RemoteProtocolError nothing more can be done with it.
    """

    __slots__ = (
        "_associated",
        "_exchange",
        "_invoke",
        "_negotiated",
        "_opening",
        "_protector",
        "_server_size",
        "_settings",
        "_state",
        "_transfer",
    )

    def __init__(
        self,
        settings: AssociationSettings,
        counters: Counters = NO_COUNTERS,
        challenge: bytes = b"",
        dedicated_key: bytes = b"",
    ) -> None:
        self._settings = settings
        self._opening = ClientOpening(settings, counters, challenge, dedicated_key)
        self._protector = self._opening.protector
        self._state = IDLE
        self._invoke = 0
        self._transfer: AnyTransfer | None = None
        self._associated: Associated | None = None
        self._negotiated = _NOTHING
        self._server_size = 0
        self._exchange: BlockExchange | None = None

    @property
    def state(self) -> State:
        return self._state

    @property
    def negotiated(self) -> Negotiated:
        """Which services there are, and how long a request may be; nothing before the server accepted."""
        return self._negotiated

    @property
    def last_received_counter(self) -> int | None:
        """The highest invocation counter the server used in this association."""
        return None if self._protector.last_received < 0 else self._protector.last_received

    # -- wishes: each returns the APDU to send ---------------------------------------------------------------------

    def associate(self) -> bytes:
        """The AARQ."""
        state = self._follow("associate")
        apdu = self._opening.request()
        self._state = state
        return apdu

    def get(self, attribute: CosemAttribute, selection: Selection | None = None) -> bytes:
        """The get-request. NotNegotiated where GET, or selective access, is not offered, or it does not fit."""
        state = self._follow("get")
        return self._begin(state, self._negotiated.get(self._next_invoke(), attribute, selection))

    def set(self, attribute: CosemAttribute, value: Data, selection: Selection | None = None) -> bytes:
        """The set-request, in blocks where it is too long and the server takes blocks; else NotNegotiated."""
        state = self._follow("set")
        return self._begin(state, self._negotiated.set(self._next_invoke(), attribute, value, selection))

    def action(self, method: CosemMethod, parameter: Data | None = None) -> bytes:
        """The action-request, in blocks where it is too long and the server takes blocks; else NotNegotiated."""
        state = self._follow("action")
        return self._begin(state, self._negotiated.action(self._next_invoke(), method, parameter))

    def get_list(self, items: Sequence[SelectedAttribute]) -> bytes:
        """The get-request with list. NotNegotiated where lists, or a selection in it, are not, or it does not fit."""
        state = self._follow("get")
        return self._begin(state, self._negotiated.get_list(self._next_invoke(), items))

    def set_list(self, items: Sequence[tuple[CosemAttribute, Data]]) -> bytes:
        """The set-request with list, in blocks where it is too long and the server takes blocks; else NotNegotiated."""
        state = self._follow("set")
        return self._begin(state, self._negotiated.set_list(self._next_invoke(), items))

    def action_list(self, items: Sequence[tuple[CosemMethod, Data | None]]) -> bytes:
        """The action-request with list, in blocks like `set_list`; else NotNegotiated."""
        state = self._follow("action")
        return self._begin(state, self._negotiated.action_list(self._next_invoke(), items))

    def access(self, items: Sequence[AccessItem], *, break_on_error: bool = False) -> bytes:
        """The access-request; with `break_on_error` nothing behind the first item that fails is carried out.

        NotNegotiated where the service, or a selection in it, is not, or it does not fit. Where the association is
        protected it always is in the general ciphered form, for it has no other.
        """
        state = self._follow("access")
        self._next_invoke()
        return self._begin(state, self._negotiated.access(self._invoke, items, break_on_error=break_on_error))

    def release(self) -> bytes:
        """The RLRQ; in a ciphered context it carries the protected InitiateRequest that meters ask for."""
        state = self._follow("release")
        apdu = Rlrq(0, self._opening.release_information()).encode()
        self._state = state
        return apdu

    # -- answers ---------------------------------------------------------------------------------------------------

    def receive(self, apdu: bytes) -> Event:
        """What one whole APDU means. RemoteProtocolError where it is wrong, SecurityError where it proves nothing."""
        state = self._state
        if state in _ENDED:
            raise LocalProtocolError(f"the association is {state.name.lower()}")
        try:
            if not apdu:
                raise DecodeError("an empty APDU")
            if apdu[0] in _NOTIFICATION_TAGS:
                return self._receive_notification(apdu)
            receive = _RECEIVE.get(state)
            if receive is not None:
                return receive(self, apdu)
            if state is ASSOCIATED and apdu[0] in _GENERAL:
                return self._unasked(self._protector.unprotect(apdu))
        except DlmsError:
            self._state = BROKEN
            raise
        return Ignored(f"an APDU 0x{apdu[0]:02X} that nobody asked for")

    def _receive_answer(self, apdu: bytes) -> Event:
        transfer = self._transfer
        assert transfer is not None
        if apdu[0] == GENERAL_BLOCK_TRANSFER:
            return self._receive_block(apdu)
        if apdu[0] not in _SERVICE_ANSWERS:
            return self._unasked(apdu)
        plain = self._protector.unprotect(apdu)
        if plain[0] not in _ANSWERS:
            return self._refused(plain, ASSOCIATED) if plain[0] in _ERRORS else self._unasked(plain)
        at, mask = (4, 0xFF) if plain[0] == ACCESS_RESPONSE else (2, 0x0F)
        if len(plain) > at and (plain[at] ^ transfer.invoke) & mask:
            return Ignored(f"an answer to invoke-id {plain[at] & mask}, not to {transfer.invoke & 0x0F}")
        if plain[0] != transfer.answer:
            raise UnexpectedAnswer(f"an APDU 0x{plain[0]:02X} where 0x{transfer.answer:02X} is due")
        outcome = transfer.receive(plain)
        if isinstance(outcome, bytes):
            return Send(self._send(outcome))
        self._transfer = None
        self._state = ASSOCIATED
        return outcome

    def _receive_block(self, block: bytes) -> Event:
        """A general block: more of them to send, to wait for, or the APDU that they carried."""
        if not self._negotiated.has_general_blocks:
            raise UnexpectedAnswer("a general-block-transfer, which was not negotiated")
        exchange = self._exchange = self._exchange or self._new_exchange()
        outgoing, apdu = exchange.receive(block)
        if apdu is None:
            return Send(outgoing[0], tuple(outgoing[1:])) if outgoing else Waiting()
        if apdu[0] == GENERAL_BLOCK_TRANSFER:
            raise UnexpectedAnswer("a general-block-transfer inside another")
        event = self._receive_notification(apdu) if apdu[0] in _NOTIFICATION_TAGS else self._receive_answer(apdu)
        if isinstance(event, (Ignored, Notified)):
            exchange.go_on()
        return event

    @property
    def awaits_blocks(self) -> bool:
        """General blocks are under way, of the request or of its answer: after a silence `again` asks for them."""
        exchange = self._exchange
        return exchange is not None and self._state is REQUESTING and exchange.is_under_way

    def again(self) -> list[bytes]:
        """After a silence, while general blocks are under way: what asks for those that were lost; else nothing.

        Nothing is executed twice by it.
        """
        if self._state is not REQUESTING or self._exchange is None:
            return []
        return self._exchange.again()

    def _receive_notification(self, apdu: bytes) -> Event:
        """One that shows what it is: plain, or in its service-specific ciphered form."""
        if self._state in (IDLE, ASSOCIATING):
            return Ignored("a notification before the association")
        if self._protector.control and apdu[0] in NOTIFICATIONS:
            return Ignored("a notification without the protection that is demanded")
        return self._unasked(self._protector.unprotect(apdu))

    def _receive_aare(self, apdu: bytes) -> Event:
        if apdu[0] in (EXCEPTION_RESPONSE, CONFIRMED_SERVICE_ERROR):
            return self._refused(apdu, CLOSED)
        if apdu[0] != AARE:
            raise UnexpectedAnswer(f"an APDU 0x{apdu[0]:02X} where an AARE is due")
        aare = decode_aare(apdu)
        if aare.result != AssociationResult.ACCEPTED:
            self._state = CLOSED
            return self._opening.rejected(aare)
        self._associated, self._negotiated = self._opening.accepted(aare)
        self._server_size = self._associated.server_max_receive_pdu_size
        hls = self._opening.hls
        if hls is not None:
            reply = hls.reply(aare, self._next_invoke())
            self._state = AUTHENTICATING
            return Send(self._protector.protect(reply))
        self._state = ASSOCIATED
        return self._associated

    def _receive_pass_4(self, apdu: bytes) -> Event:
        hls = self._opening.hls
        assert hls is not None
        if apdu[0] not in _SERVICE_ANSWERS:
            return self._unasked(apdu)
        before = self._protector.last_received
        plain = self._protector.unprotect(apdu)
        if plain[0] not in _ANSWERS:
            return self._refused(plain, CLOSED) if plain[0] in _ERRORS else self._unasked(plain)
        failure = hls.receive(plain, before)
        if failure is not None:
            if isinstance(failure, Rejected):
                self._state = CLOSED
            return failure
        self._state = ASSOCIATED
        assert self._associated is not None
        return self._associated

    def _receive_rlre(self, apdu: bytes) -> Event:
        if apdu[0] in (EXCEPTION_RESPONSE, CONFIRMED_SERVICE_ERROR):
            return self._refused(apdu, CLOSED)
        if apdu[0] != RLRE:
            return self._unasked(apdu)
        rlre = decode_rlre(apdu)
        if rlre.user_information:
            self._protector.unprotect(rlre.user_information)
        self._state = CLOSED
        return Released(rlre.reason)

    # -- steps -----------------------------------------------------------------------------------------------------

    def _follow(self, wish: str) -> State:
        state = NEXT.get((self._state, wish))
        if state is None:
            raise LocalProtocolError(f"{wish} is not possible while {self._state.name.lower()}")
        return state

    def _begin(self, state: State, transfer: AnyTransfer) -> bytes:
        apdu = self._send(transfer.first)
        self._transfer = transfer
        self._state = state
        return apdu

    def _send(self, plain: bytes) -> bytes:
        """Protected and, where it is too long for the server's PDU, the first of its general blocks."""
        apdu = self._protector.protect(plain)
        self._exchange = None
        if self._negotiated.has_general_blocks and 0 < self._server_size < len(apdu):
            self._exchange = self._new_exchange()
            (apdu,) = self._exchange.send(apdu, self._server_size)
        return apdu

    def _new_exchange(self) -> BlockExchange:
        return BlockExchange(self._settings.block_window, self._settings.response_limit)

    def _refused(self, plain: bytes, state: State) -> Event:
        """The service failed as a whole."""
        event: Event
        if plain[0] == EXCEPTION_RESPONSE:
            event = decode_exception_response(plain)
        else:
            event = ServiceError(decode_confirmed_service_error(plain))
        self._transfer = None
        self._state = state
        return event

    def _unasked(self, apdu: bytes) -> Event:
        """A notification, which is passed over where it can't be read: it answers nothing. Or anything else."""
        if apdu[0] in NOTIFICATIONS:
            try:
                return Notified(decode_notification(apdu))
            except DecodeError as error:
                return Ignored(f"a notification: {error}")
        return Ignored(f"an APDU 0x{apdu[0]:02X} that answers nothing")

    def _next_invoke(self) -> int:
        self._invoke = self._invoke % 15 + 1
        return _INVOKE_FLAGS | self._invoke


_RECEIVE: Final[dict[State, Callable[[ClientAssociation, bytes], Event]]] = {
    ASSOCIATING: ClientAssociation._receive_aare,
    AUTHENTICATING: ClientAssociation._receive_pass_4,
    REQUESTING: ClientAssociation._receive_answer,
    RELEASING: ClientAssociation._receive_rlre,
}
"""What an APDU is taken for; in another state nobody asked for it."""
