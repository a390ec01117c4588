"""What can go wrong with a simulated meter, on demand.

A meter's `Faults` are a tuple of fault values, each with its own parameters and, where that makes sense, `times`:
the fault is in force in the first so many sessions since it was set, and afterwards the meter behaves. In JSON a
fault is an object with a `kind`: `{"kind": "reject-association", "result": "permanent", "diagnostic": 13, "times": 2}`.
"""

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86400)]
LogicalName = Annotated[str, msgspec.Meta(pattern=r"^\d{1,3}(\.\d{1,3}){5}$")]


class Fault(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="kind", forbid_unknown_fields=True):
    """One fault; `times` limits it to the first so many sessions, None is every session."""

    times: Positive | None = None

    @property
    def kind(self) -> str:
        return str(self.__struct_config__.tag)


class RefuseConnections(Fault, frozen=True, tag="refuse-connections"):
    """Nothing listens on the meter's port, for `seconds` after the start (None: always); `times` has no meaning.

    A gateway can't refuse for one of its meters: it closes the connection when such a meter is addressed.
    """

    seconds: Seconds | None = None


class NeverAnswer(Fault, frozen=True, tag="never-answer"):
    """Accepts the connection, reads, and never sends a byte."""


class DelayAnswers(Fault, frozen=True, tag="delay-answers"):
    """Every answer of the session waits a random time between `minimum` and `maximum` seconds."""

    minimum: Seconds = 30.0
    maximum: Seconds = 120.0

    def __post_init__(self) -> None:
        if self.maximum < self.minimum:
            raise ValueError("delay-answers: maximum is below minimum")


class DropConnection(Fault, frozen=True, tag="drop-connection"):
    """Aborts the connection once so many octets were received, or so many sent (the answer is cut there)."""

    after_received: Count | None = None
    after_sent: Count | None = None


class CutFrames(Fault, frozen=True, tag="cut-frames"):
    """Sends every answer in pieces of at most `octets`, with `pause` seconds between them."""

    octets: Positive = 7
    pause: Seconds = 0.005


class RejectAssociation(Fault, frozen=True, tag="reject-association"):
    """Answers every AARQ with rejected-permanent or rejected-transient and the acse-service-user diagnostic."""

    result: Literal["permanent", "transient"] = "permanent"
    diagnostic: Annotated[int, msgspec.Meta(ge=0, le=14)] = 1


class WrongKey(Fault, frozen=True, tag="wrong-key"):
    """The meter holds other keys and another password than the ones that its record tells."""


class StaleCounter(Fault, frozen=True, tag="stale-counter"):
    """When set, the meter's last accepted invocation counter jumps ahead by `ahead`: the client is out of step.

    `silent` meters drop what comes with a stale counter; others answer with an exception-response that tells the
    expected counter.
    """

    ahead: Count = 1_000_000
    silent: bool = False


class AccessError(Fault, frozen=True, tag="access-error"):
    """A service on one attribute or method ends with this result code (catalogue 2.8); index None is any."""

    service: Literal["get", "set", "action"]
    class_id: Annotated[int, msgspec.Meta(ge=0, le=65535)]
    logical_name: LogicalName
    index: int | None = None
    result: Annotated[int, msgspec.Meta(ge=1, le=255)] = 3

    @property
    def logical_name_octets(self) -> bytes:
        return bytes(int(part) for part in self.logical_name.split("."))


class TemporaryFailures(Fault, frozen=True, tag="temporary-failures"):
    """The first `services` GET, SET and ACTION since the fault was set end with temporary-failure (2)."""

    services: Positive = 1


class HoldAssociation(Fault, frozen=True, tag="hold-association"):
    """One association at a time: a second one, and any within `seconds` after a connection that dropped without
    release, is rejected-transient."""

    seconds: Seconds = 30.0


class AnotherIdentity(Fault, frozen=True, tag="another-identity"):
    """Another meter answers at this address: its system title and logical device name differ."""


class Garbage(Fault, frozen=True, tag="garbage"):
    """Answers with random octets instead of a frame; `after_answers` good answers come first."""

    octets: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 64
    after_answers: Count = 0


class HugeLength(Fault, frozen=True, tag="huge-length"):
    """Claims a frame of 65535 octets and sends only a few; `after_answers` good answers come first."""

    after_answers: Count = 0


class LoseActionAnswer(Fault, frozen=True, tag="lose-action-answer"):
    """Executes the ACTION and drops the connection instead of answering, for the first `actions` of them that follow
    the first `after`.

    The replies to HLS authentication don't count.
    """

    actions: Positive = 1
    after: Count = 0


class LoseImageBlocks(Fault, frozen=True, tag="lose-image-blocks"):
    """Acknowledges the firmware blocks of these numbers and forgets them, the first time that each comes; those that
    are `busy` it refuses with temporary-failure.

    `times` has no meaning.
    """

    blocks: tuple[Count, ...] = ()
    busy: tuple[Count, ...] = ()


class RefuseLists(Fault, frozen=True, tag="refuse-lists"):
    """Promises multiple references in the AARE, or ACCESS, and then refuses every GET, SET and ACTION with a list.

    ACCESS is always refused with an exception-response.
    """

    answer: Literal["exception-response", "confirmed-service-error", "data-access-result"] = "exception-response"


class SendNotification(Fault, frozen=True, tag="send-notification"):
    """Sends a notification in front of every answer but the first `after_answers`, `count` of them each time.

    It is ciphered as the association's answers are, unless `plain`.
    """

    form: Literal["data", "event"] = "data"
    count: Annotated[int, msgspec.Meta(ge=1, le=255)] = 1
    after_answers: Count = 2
    plain: bool = False


class LoseBlocks(Fault, frozen=True, tag="lose-blocks"):
    """Of the general blocks that the meter sends, every so many-th is lost on the way.

    The first one of an answer to a request in one APDU never is: its loss is that of any answer.
    """

    every: Annotated[int, msgspec.Meta(ge=2)] = 4


AnyFault = (
    RefuseConnections
    | NeverAnswer
    | DelayAnswers
    | DropConnection
    | CutFrames
    | RejectAssociation
    | WrongKey
    | StaleCounter
    | AccessError
    | TemporaryFailures
    | HoldAssociation
    | AnotherIdentity
    | Garbage
    | HugeLength
    | LoseActionAnswer
    | LoseImageBlocks
    | RefuseLists
    | SendNotification
    | LoseBlocks
)
Faults = tuple[AnyFault, ...]
NO_FAULTS: Faults = ()


class FaultRule(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Gives `faults` to named meters, to a number of meters, or to a share of them.

    Exactly one of `meters`, `count`, `rate`. Meters that a rule already took are not taken again, so the faults
    of two rules never meet on one meter; named meters come first.
    """

    faults: Faults
    meters: tuple[str, ...] | None = None
    count: Count | None = None
    rate: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None

    def __post_init__(self) -> None:
        if sum(choice is not None for choice in (self.meters, self.count, self.rate)) != 1:
            raise ValueError("a fault rule has exactly one of meters, count and rate")


def parse_fault_rules(document: bytes) -> tuple[FaultRule, ...]:
    """The rules of a JSON array; raises ValueError that names the path of what is wrong."""
    try:
        return msgspec.json.decode(document, type=tuple[FaultRule, ...])
    except msgspec.MsgspecError as error:
        raise ValueError(f"fault rules: {error}") from error


class FaultPlay:
    """The faults of one meter in play: which are in force in a session, and what they have used up."""

    __slots__ = ("_actions_lost", "_failures", "_sessions", "faults")

    def __init__(self, faults: Iterable[AnyFault] = NO_FAULTS) -> None:
        self.faults: Faults = tuple(faults)
        self._sessions = 0
        self._failures = 0
        self._actions_lost = 0

    def open_session(self) -> Faults:
        """The faults in force in the session that opens now; counts the session against `times`."""
        if not self.faults:
            return NO_FAULTS
        self._sessions += 1
        return tuple(f for f in self.faults if f.times is None or self._sessions <= f.times)

    def take_temporary_failure(self, fault: TemporaryFailures) -> bool:
        """True for the first `services` calls."""
        self._failures += 1
        return self._failures <= fault.services

    def take_lost_answer(self, fault: LoseActionAnswer) -> bool:
        """True for the first `actions` calls that follow the first `after`."""
        self._actions_lost += 1
        return fault.after < self._actions_lost <= fault.after + fault.actions
