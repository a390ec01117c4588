"""The physical state of one meter: what stays when a session ends."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from metercast.dlms.data import Data, encode_data
from metercast.dlms.datetimes import CosemDateTime
from metercast.dlms.logical_name import LogicalName
from metercast.simulator.calendar import NAME, PARTS, ActivityCalendar
from metercast.simulator.clock import MeterClock, TimeSource, ZoneRules
from metercast.simulator.energy import Energy
from metercast.simulator.events import POWER_UP, STANDARD_LOG, EventLogs, LoggedEvent
from metercast.simulator.firmware import Firmware
from metercast.simulator.keys import MeterKeys
from metercast.simulator.push_setup import PUSH_SETUPS, Pusher, PushSetup
from metercast.simulator.relay import ControlState, Relay
from metercast.simulator.spec import MeterSpec

MethodKey = tuple[int, LogicalName, int]

_rules_by_zone: dict[tuple[str, int], ZoneRules] = {}


class MeterState:
    """Clock, calendar, relay, energy, billing counter, and how often each method ran."""

    __slots__ = (
        "_push_setups",
        "billing_counter",
        "calendar",
        "clock",
        "energy",
        "events",
        "executed",
        "firmware",
        "keys",
        "limiter",
        "on_execution",
        "pusher",
        "relay",
        "spec",
        "special_days",
        "tariff",
    )

    def __init__(self, spec: MeterSpec, time_source: TimeSource) -> None:
        self.spec = spec
        self.keys = MeterKeys(spec)
        self.clock = MeterClock(
            zone_rules(spec.time_zone, time_source),
            offset=spec.clock_offset,
            drift=spec.clock_drift,
            time_source=time_source,
        )
        self.calendar = ActivityCalendar(past_at_once=spec.past_activation == "at-once")
        self.relay = Relay(spec.control_mode)
        self.energy = Energy(spec.serial, self.clock.timestamp())
        self.special_days: list[Data] = []
        self.limiter = _new_limiter()
        self._push_setups: dict[LogicalName, PushSetup] = {}
        self.pusher: Pusher | None = None  # while the simulator runs
        self.events = EventLogs()
        self.note(STANDARD_LOG, POWER_UP)
        self.firmware = Firmware(spec.firmware, time_source)
        self.billing_counter = 0
        self.tariff = 1
        self.executed: dict[MethodKey, int] = {}
        self.on_execution: Callable[[MethodKey, int], None] | None = None

    def refresh(self) -> None:
        """Lets happen what the time brings: an armed calendar or image whose moment has come becomes
        active, a verification ends."""
        now = self.clock.timestamp()
        self.calendar.run(now)
        self.firmware.refresh(now)

    def push_setup(self, logical_name: LogicalName) -> PushSetup:
        """As it left the factory until it is written: nothing is pushed to anyone."""
        if logical_name not in self._push_setups:
            self._push_setups[logical_name] = PushSetup(PUSH_SETUPS.index(logical_name))
        return self._push_setups[logical_name]

    def note(self, log: int, code: int) -> None:
        self.events.note(log, LoggedEvent(self.clock.timestamp(), code))

    def count_execution(self, class_id: int, logical_name: LogicalName, index: int) -> None:
        key = (class_id, logical_name, index)
        self.executed[key] = self.executed.get(key, 0) + 1
        if self.on_execution is not None:
            self.on_execution(key, self.executed[key])

    def snapshot(self) -> dict[str, Any]:
        """The state as JSON, for a comparison with what was read through the protocol."""
        self.refresh()
        armed_at = self.calendar.armed_at
        return {
            "activeCalendarName": self.calendar.active(NAME).value.decode("latin-1"),
            "activeCalendar": [encode_data(self.calendar.active(part)).hex() for part in PARTS],
            "passiveCalendarName": self.calendar.passive(NAME).value.decode("latin-1"),
            "armedTime": self.calendar.armed.hex().upper() if armed_at is not None else None,
            "activations": self.calendar.activations,
            "relayConnected": self.relay.output,
            "controlState": ControlState(self.relay.state).name.lower(),
            "controlMode": self.relay.mode,
            "relaySwitched": self.relay.switched,
            "clockOffsetSeconds": round(self.clock.offset(), 3),
            "billingCounter": self.billing_counter,
            "firmware": self.firmware.version,
            "imageStatus": self.firmware.status.name.lower(),
            "imagesInitiated": self.firmware.initiated,
            "imageBlocks": self.firmware.blocks,
            "imagesActivated": self.firmware.activated,
            "keys": self.keys.fingerprints(),
            "executed": {f"{c}/{name}/{index}": n for (c, name, index), n in self.executed.items()},
        }


def _new_limiter() -> dict[int, Data]:
    """The attributes of the limiter that can be written, by index: no limit is reached, no emergency is planned."""
    never = Data.octets(CosemDateTime().encode())
    nothing = Data.structure([Data.long_unsigned(0), never, Data.double_long_unsigned(0)])
    numbers = {4: 25_000, 5: 25_000, 6: 60, 7: 60}
    values = {index: Data.double_long_unsigned(number) for index, number in numbers.items()}
    return values | {8: nothing, 9: Data.array([])}


def zone_rules(name: str, time_source: TimeSource) -> ZoneRules:
    """The rules of the zone in the time source's year; the same object for the same zone and year."""
    year = datetime.fromtimestamp(time_source()).astimezone().year
    if (name, year) not in _rules_by_zone:
        _rules_by_zone[name, year] = ZoneRules.of_zone(name, year)
    return _rules_by_zone[name, year]
