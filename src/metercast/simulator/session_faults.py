"""The faults in force in one session that the application layer plays, ready to be asked."""

from dataclasses import dataclass, field

from metercast.dlms.results import DataAccessResult
from metercast.simulator.faults import (
    AccessError,
    AnotherIdentity,
    FaultPlay,
    Faults,
    HoldAssociation,
    LoseActionAnswer,
    RefuseLists,
    RejectAssociation,
    StaleCounter,
    TemporaryFailures,
    WrongKey,
)


@dataclass(slots=True)
class SessionFaults:
    """What a session's association and services have to spoil; all empty where the meter behaves."""

    play: FaultPlay
    reject: RejectAssociation | None = None
    hold: HoldAssociation | None = None
    lose: LoseActionAnswer | None = None
    refuse_lists: RefuseLists | None = None
    temporary: TemporaryFailures | None = None
    access: list[AccessError] = field(default_factory=list)
    wrong_key: bool = False
    another_identity: bool = False
    silent_counter: bool = False

    @classmethod
    def of(cls, faults: Faults, play: FaultPlay) -> "SessionFaults":
        found = cls(play)
        for fault in faults:
            match fault:
                case RejectAssociation():
                    found.reject = fault
                case HoldAssociation():
                    found.hold = fault
                case LoseActionAnswer():
                    found.lose = fault
                case RefuseLists():
                    found.refuse_lists = fault
                case TemporaryFailures():
                    found.temporary = fault
                case AccessError():
                    found.access.append(fault)
                case WrongKey():
                    found.wrong_key = True
                case AnotherIdentity():
                    found.another_identity = True
                case StaleCounter():
                    found.silent_counter = fault.silent
        return found

    def spoils(self, service: str, class_id: int, logical_name: bytes, index: int) -> tuple[str, int] | None:
        """(kind of fault, result code) where the service must not be performed."""
        if self.temporary is not None and self.play.take_temporary_failure(self.temporary):
            return self.temporary.kind, DataAccessResult.TEMPORARY_FAILURE
        for fault in self.access:
            if (
                fault.service == service
                and fault.class_id == class_id
                and fault.index in (None, index)
                and fault.logical_name_octets == logical_name
            ):
                return fault.kind, fault.result
        return None

    def loses_answer(self) -> str | None:
        """The kind of fault where the answer to the ACTION that just ran must not be sent."""
        if self.lose is not None and self.play.take_lost_answer(self.lose):
            return self.lose.kind
        return None
