"""All that a meter sends for one APDU that it received: notifications where a fault plays them, then the answer.

An answer goes in general blocks where the request came so, or where it is too long for the client's PDU.
"""

from metercast.dlms.block_exchange import BlockExchange
from metercast.dlms.conformance import Conformance
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
from metercast.dlms.errors import DecodeError, DlmsError
from metercast.dlms.general_block import GENERAL_BLOCK_TRANSFER, decode_general_block
from metercast.dlms.notification import DataNotification, EventNotification, Notification
from metercast.simulator.association import NO_LIMIT, ServerAssociation
from metercast.simulator.faults import Faults, LoseBlocks, SendNotification
from metercast.simulator.framing import Request
from metercast.simulator.objects.base import name
from metercast.simulator.observer import Observer
from metercast.simulator.services import MALFORMED
from metercast.simulator.transfers import MAX_TRANSFER

_METER_EVENT = CosemAttribute(1, name("0.0.96.11.0.255"), 2)


_GENERAL_BLOCKS = Conformance.GENERAL_BLOCK_TRANSFER.value


class Answering:
    """One association's answers as APDUs, in the order in which they go out; `window` is of general blocks."""

    __slots__ = (
        "_answers",
        "_association",
        "_blocks",
        "_exchange",
        "_lose",
        "_notified",
        "_notify",
        "_observer",
        "_window",
    )

    def __init__(self, association: ServerAssociation, faults: Faults, observer: Observer, window: int) -> None:
        self._association = association
        self._notify = next((fault for fault in faults if isinstance(fault, SendNotification)), None)
        self._lose = next((fault for fault in faults if isinstance(fault, LoseBlocks)), None)
        self._observer = observer
        self._window = window
        self._exchange: BlockExchange | None = None
        self._answers = self._notified = self._blocks = 0  # sent so far

    def answers(self, request: Request) -> list[bytes]:
        """Never raises, whatever the octets."""
        if not self._association.conformance & _GENERAL_BLOCKS:
            return self._alone(request)
        try:
            if request.apdu[:1] == bytes((GENERAL_BLOCK_TRANSFER,)):
                return self._take_block(request)
            *before, answer = self._alone(request) or [b""]
            if len(answer) <= self._size:
                return [*before, answer] if answer else []
            self._exchange = BlockExchange(self._window, MAX_TRANSFER)
            return [*before, *self._exchange.send(answer, self._size)]
        except DlmsError as error:
            self._exchange = None
            self._observer.refused(str(error))
            return [MALFORMED]

    @property
    def _size(self) -> int:
        return self._association.max_answer or NO_LIMIT

    def _alone(self, request: Request) -> list[bytes]:
        """The answer, uncut and last; nothing where there is none."""
        notifications = self._notifications()  # made before the answer: they have the lower counters
        answer = self._association.receive(*request)
        return [] if answer is None else [*notifications, answer]

    def _take_block(self, request: Request) -> list[bytes]:
        exchange = self._exchange
        if exchange is None or (exchange.is_sent and _begins(request.apdu)):
            exchange = self._exchange = BlockExchange(self._window, MAX_TRANSFER)
        outgoing, whole = exchange.receive(request.apdu)
        if whole is None:
            return self._lossy(outgoing)
        self._association.in_blocks = True
        try:
            *before, answer = self._alone(request._replace(apdu=whole)) or [b""]
        finally:
            self._association.in_blocks = False
        return [*before, *self._lossy(exchange.send(answer, self._size))] if answer else []

    def _lossy(self, blocks: list[bytes]) -> list[bytes]:
        """Those that no fault lets get lost."""
        fault = self._lose
        if fault is None:
            return blocks
        left = []
        for block in blocks:
            self._blocks += 1
            if self._blocks % fault.every:
                left.append(block)
            else:
                self._observer.fault_played(fault.kind)
        return left

    def _notifications(self) -> list[bytes]:
        fault = self._notify
        if fault is None:
            return []
        self._answers += 1
        if self._answers <= fault.after_answers:
            return []
        self._observer.fault_played(fault.kind)
        return [self._notification(fault) for _ in range(fault.count)]

    def _notification(self, fault: SendNotification) -> bytes:
        self._notified += 1
        number = Data.unsigned(self._notified & 0xFF)
        notification: Notification = EventNotification(None, _METER_EVENT, number)
        if fault.form == "data":
            value = Data.structure([Data.octets(self._association.logical_device_name), number])
            notification = DataNotification(self._notified, b"", value)
        return self._association.protect(notification.encode(), plain=fault.plain)


def _begins(apdu: bytes) -> bool:
    """Whether a general block begins another exchange: the first one, that acknowledges nothing."""
    try:
        block = decode_general_block(apdu)
    except DecodeError:
        return False
    return block.number == 1 and block.acknowledged == 0 and bool(block.data)
