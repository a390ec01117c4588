"""What an association tells to whoever watches it."""

from typing import Literal

from metercast.dlms.acse import Mechanism

Service = Literal["get", "set", "action"]


class Observer:
    """Does nothing; a session's observer writes the log."""

    __slots__ = ()

    def association_answered(self, client_sap: int, mechanism: Mechanism, result: int, diagnostic: int) -> None:
        """An AARE was made."""

    def association_established(self, client_sap: int, mechanism: Mechanism) -> None:
        """The association is complete, with HLS after pass 4."""

    def association_released(self) -> None:
        """RLRQ was answered."""

    def service_answered(self, service: Service, class_id: int, logical_name: bytes, index: int, result: int) -> None:
        """A GET, SET or ACTION ended with this result code."""

    def refused(self, reason: str) -> None:
        """An APDU was not accepted."""

    def fault_played(self, kind: str) -> None:
        """A fault showed."""
