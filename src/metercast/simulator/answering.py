"""All that a meter sends for one APDU that it received: notifications first, where a fault plays them, the answer."""

from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
from metercast.dlms.notification import DataNotification, EventNotification, Notification
from metercast.simulator.association import ServerAssociation
from metercast.simulator.faults import SendNotification
from metercast.simulator.framing import Request
from metercast.simulator.objects.base import name
from metercast.simulator.observer import Observer

_METER_EVENT = CosemAttribute(1, name("0.0.96.11.0.255"), 2)


class Answering:
    """One association's answers as APDUs, in the order in which they go out."""

    __slots__ = ("_answers", "_association", "_notification", "_notified", "_observer")

    def __init__(
        self, association: ServerAssociation, notification: SendNotification | None, observer: Observer
    ) -> None:
        self._association = association
        self._notification = notification
        self._observer = observer
        self._answers = 0
        self._notified = 0

    def answers(self, request: Request) -> list[bytes]:
        """Never raises, whatever the octets."""
        notifications = self._notifications()  # before the answer: they have the lower counters
        answer = self._association.receive(*request)
        return notifications if answer is None else [*notifications, answer]

    def _notifications(self) -> list[bytes]:
        fault = self._notification
        if fault is None:
            return []
        self._answers += 1
        if self._answers <= fault.after_answers:
            return []
        self._observer.fault_played(fault.kind)
        return [self._notify(fault) for _ in range(fault.count)]

    def _notify(self, fault: SendNotification) -> bytes:
        self._notified += 1
        value = Data.structure(
            [Data.octets(self._association.logical_device_name), Data.unsigned(self._notified & 0xFF)]
        )
        notification: Notification
        if fault.form == "data":
            notification = DataNotification(self._notified, b"", value)
        else:
            notification = EventNotification(None, _METER_EVENT, Data.unsigned(self._notified & 0xFF))
        return self._association.protect(notification.encode(), plain=fault.plain)
