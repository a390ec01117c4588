"""A MeterSession with objects instead of a meter, and a script of what goes wrong."""

from collections.abc import Callable, Hashable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.commands.fake_keys import FakeKeys

from metercast.commands.contract import MeterRefused, SelectionUnavailable, StepFailed
from metercast.commands.known_scales import KnownScales
from metercast.commands.object_lists import ObjectLists
from metercast.commands.registry import command_type, parse_parameters
from metercast.dlms.action import ActionRequestNormal
from metercast.dlms.cosem import CosemAttribute, CosemMethod, Selection
from metercast.dlms.data import Data
from metercast.dlms.get import GetRequestNormal
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.set import SetRequestNormal
from metercast.domain.firmware import FirmwareImage, Transferred
from metercast.domain.meter import Connection, Meter, MeterRecord
from metercast.domain.outcome import Outcome
from metercast.domain.words import ErrorWord
from metercast.profiles.collection import BUILT_IN

INVOKE = 0xC1
NOW = datetime(2026, 9, 17, 9, 15, 6, tzinfo=UTC)


def meter(zone: str = "UTC") -> Meter:
    return Meter("meter-1", MeterRecord(connection=Connection(host="127.0.0.1"), time_zone=zone), {})


def attribute(class_id: int, obis: str, index: int) -> CosemAttribute:
    return CosemAttribute(class_id, LogicalName.parse(obis), index)


class FakeSession:
    """`objects` are attributes by (class, obis, index); `fail` maps "get 20/8" and the like to what is raised.

    A request and its answer take half of `latency` each. A value of `fail` is one StepFailed for every time, or a
    list of them and of None, used up from the front.
    """

    def __init__(self, objects: dict[tuple[int, str, int], Data], zone: str = "UTC") -> None:
        self.objects = {attribute(*key): value for key, value in objects.items()}
        self.fail: dict[str, StepFailed | list[StepFailed | None]] = {}
        self.actions: dict[str, Callable[[Data | None], Data | None]] = {}
        self.log: list[str] = []
        self.keys = FakeKeys(self.log)
        self.apdus: list[str] = []
        self.slept: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None
        self.clock = NOW
        self.latency = 0.0
        self.send_delay = 0.0
        self.meter = meter(zone)
        self.profile = BUILT_IN.get("generic")
        self.model: Hashable | None = ("generic", b"MMM")
        self.object_lists = ObjectLists()
        self.proof: Hashable | None = b"MMM00001"
        self.known_scales = KnownScales()
        self.verify_first = False
        self.progress: Any = None
        self.should_yield = False
        self.images: dict[str, FirmwareImage] = {}
        self.noted: Transferred | None = None
        self.notes: list[Transferred] = []
        self.kept: list[Any] = []
        self._settled = 0

    async def image(self, reference: str) -> FirmwareImage:
        if reference not in self.images:
            raise StepFailed(ErrorWord.IMAGE_MISSING, f"there is no image {reference!r}")
        return self.images[reference]

    async def transferred(self) -> Transferred | None:
        return self.noted

    async def note_transferred(self, transferred: Transferred) -> None:
        self.noted = transferred
        self.notes.append(transferred)

    @property
    def has_changed(self) -> bool:
        return len(self.changes) > self._settled

    async def settle(self, progress: Any) -> None:
        self._settled = len(self.changes)
        self.kept.append(progress)

    def now(self) -> datetime:
        return self.clock

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock += timedelta(seconds=seconds)
        self.on_sleep()

    async def get(self, attribute: CosemAttribute, selection: Selection | None = None) -> Data:
        self._log("get", attribute, GetRequestNormal(INVOKE, attribute, selection).encode())
        value = self.value_of(attribute) if selection is None else self.selected(attribute, selection)
        self._travel()
        return value

    async def get_list(self, attributes: Sequence[CosemAttribute]) -> list[Data | MeterRefused]:
        """Read one by one: a meter without lists."""
        results: list[Data | MeterRefused] = []
        for attribute in attributes:
            try:
                results.append(await self.get(attribute))
            except MeterRefused as refused:
                results.append(refused)
        return results

    async def set(self, attribute: CosemAttribute, value: Data | Callable[[], Data]) -> None:
        value = value() if callable(value) else value
        self._log("set", attribute, SetRequestNormal(INVOKE, attribute, value).encode())
        self.store(attribute, value)
        self._travel()

    async def action(self, method: CosemMethod, parameter: Data | None = None) -> Data | None:
        self._log("action", method, ActionRequestNormal(INVOKE, method, parameter).encode())
        returned = self.actions[f"{method.class_id}/{method.index}"](parameter)
        self._travel()
        return returned

    def value_of(self, attribute: CosemAttribute) -> Data:
        """What the meter holds; overridden where it is more than a value."""
        return self.objects[attribute]

    def selected(self, attribute: CosemAttribute, selection: Selection, /) -> Data:
        """What the meter gives of it; overridden where it has selective access."""
        raise SelectionUnavailable(ErrorWord.SERVICE_NOT_SUPPORTED, "no selective access")

    def store(self, attribute: CosemAttribute, value: Data, /) -> None:
        """What the meter makes of a write."""
        self.objects[attribute] = value

    def _travel(self) -> None:
        self.clock += timedelta(seconds=self.latency / 2)

    def _log(self, service: str, target: CosemAttribute | CosemMethod, apdu: bytes) -> None:
        name = f"{service} {target.class_id}/{target.index}"
        self.log.append(name)
        self.apdus.append(apdu.hex())
        self.clock += timedelta(seconds=self.send_delay)
        self._travel()
        planned = self.fail.get(name)
        error = planned.pop(0) if isinstance(planned, list) and planned else planned
        if isinstance(error, StepFailed):
            raise error

    @property
    def changes(self) -> list[str]:
        return [entry for entry in self.log if not entry.startswith("get")]


async def run(session: FakeSession, name: str, raw: dict[str, Any] | None = None) -> Outcome:
    """Parameters from JSON and the command's steps; StepFailed comes through."""
    command = command_type(name)
    return await command.perform(session, parse_parameters(command, raw, session.now()))
