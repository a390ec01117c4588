"""What the driver's tests share: a counter store in memory, a checkpoint that can say no, and meters' records."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from metercast.commands.registry import command_type, parse_parameters
from metercast.domain.meter import AssociationSecrets, Meter, MeterRecord, Secrets
from metercast.domain.outcome import Outcome
from metercast.driver.contract import Checkpoint, Command, GiveBack
from metercast.driver.counters import InvocationCounters
from metercast.driver.dlms import DlmsDriver
from metercast.driver.keeper import Change
from metercast.driver.timeouts import Timeouts
from metercast.driver.transport import Connector, TcpConnector
from metercast.store.counters import CounterExhausted, CounterName

SECRETS = ("password", "encryptionKey", "authenticationKey", "broadcastKey", "masterKey", "signingKey")
QUICK = Timeouts(connect=5.0, progress=0.2, session=5.0, release=0.2)
PATIENT = Timeouts(connect=10.0, progress=20.0, session=60.0, release=1.0)


class MemoryCounterStore:
    """Implements store.counters.CounterStore; `reserved` tells what was asked."""

    def __init__(self, first: int = 1) -> None:
        self._first = first
        self.next: dict[CounterName, int] = {}
        self.reserved: list[tuple[int, int]] = []
        self.error: Exception | None = None

    async def reserve_counters(self, name: CounterName, count: int, at_least: int = 0) -> int:
        if self.error is not None:
            raise self.error
        first = max(self.next.get(name, self._first), at_least)
        if not count:
            return first
        if first + count > 2**32:
            raise CounterExhausted(f"the invocation counter of {name.device_id} is at {first}")
        self.next[name] = first + count
        if count > 1:  # one at a time is what a meter's own counters are kept with
            self.reserved.append((first, count))
        return first


class MemoryKeeper:
    """Implements driver.session_secrets.Keeper for one meter."""

    def __init__(self, secrets: Secrets) -> None:
        self.secrets = dict(secrets)

    async def change(self, device_id: str, association: str, change: Change) -> Secrets:
        self.secrets[association] = change(self.secrets.get(association, AssociationSecrets()))
        return dict(self.secrets)


def always() -> bool:
    return True


@dataclass
class ScriptedCheckpoint:
    """`sends_left` and `change` decide; `sends` and `changes` count what was asked."""

    verify_first: bool = False
    progress: Any = None
    sends_left: Callable[[int], bool] = field(default=lambda sends: True)
    change: Callable[[], bool] = always
    sends: int = 0
    changes: int = 0
    yields: Callable[[], bool] = lambda: False
    settled: list[Any] = field(default_factory=list)
    task_id: str = "task-1"

    @property
    def should_yield(self) -> bool:
        return self.yields()

    async def settle(self, progress: Any) -> None:
        self.settled.append(progress)

    def may_send(self) -> None:
        self.sends += 1
        if not self.sends_left(self.sends):
            raise GiveBack("the lease ran out")

    def may_change(self) -> None:
        self.changes += 1
        if not self.change():
            raise GiveBack("the task was cancelled")


def meter_of(document: dict[str, Any], **identity: str | None) -> Meter:
    """A meter from its device document, as the simulator gives it; `identity` replaces the one of the document."""
    raw = msgspec.json.decode(msgspec.json.encode(document))
    device_id = raw.pop("deviceId")
    secrets = {}
    for name, association in raw.get("associations", {}).items():
        found = {each: association.pop(each) for each in SECRETS if each in association}
        secrets[name] = msgspec.convert(found, AssociationSecrets)
    if identity:
        raw["identity"] = identity
    return Meter(device_id, msgspec.convert(raw, MeterRecord), secrets)


def command(name: str, raw: dict[str, Any] | None = None) -> Command:
    type_ = command_type(name)
    return Command(type_, parse_parameters(type_, raw, datetime(2026, 1, 1, tzinfo=UTC)))


def driver(
    connector: Connector | None = None,
    store: MemoryCounterStore | None = None,
    timeouts: Timeouts = QUICK,
    **options: Any,
) -> DlmsDriver:
    counters = InvocationCounters(store or MemoryCounterStore())
    return DlmsDriver(connector or TcpConnector(), counters, timeouts, **options)


async def execute(
    meter: Meter,
    name: str = "READ_CLOCK",
    raw: dict[str, Any] | None = None,
    *,
    checkpoint: Checkpoint | None = None,
    by: DlmsDriver | None = None,
) -> Outcome:
    return await (by or driver()).execute(command(name, raw), meter, checkpoint or ScriptedCheckpoint())
