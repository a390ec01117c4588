"""The activity calendar of a meter: an active and a passive one, and the moment at which they change over.

Attributes stand as their `Data`, in the order calendar name, season profile, week profile table, day profile table
(class 20 attributes 2-5 active, 6-9 passive; catalogue 1.1).
"""

from datetime import tzinfo
from itertools import pairwise

from msgspec.structs import replace

from metercast.dlms.data import Data, Tag
from metercast.dlms.datetimes import ANY, CosemDateTime, CosemTime
from metercast.dlms.errors import DecodeError, EncodeError
from metercast.dlms.logical_name import LogicalName
from metercast.simulator.shape import ArrayOf, OctetsOf, Shape, StructureOf, matches

MAX_SEASONS = 12
MAX_WEEKS = 12
MAX_DAYS = 24
MAX_ACTIONS = 24
MAX_NAME = 32
TARIFF_SCRIPTS = LogicalName.parse("0.0.10.0.100.255")

PARTS = NAME, SEASONS, WEEKS, DAYS = (0, 1, 2, 3)
_ACTION: Shape = StructureOf((OctetsOf(4), OctetsOf(6), Tag.LONG_UNSIGNED))
SHAPES: tuple[Shape, ...] = (
    Tag.OCTET_STRING,
    ArrayOf(StructureOf((Tag.OCTET_STRING, OctetsOf(12), Tag.OCTET_STRING))),
    ArrayOf(StructureOf((Tag.OCTET_STRING, *(Tag.UNSIGNED,) * 7))),
    ArrayOf(StructureOf((Tag.UNSIGNED, ArrayOf(_ACTION)))),
)
DISARMED = CosemDateTime().encode()


class WrongType(Exception):
    """The value has not the attribute's type."""


class WrongValue(Exception):
    """The type is right, the meaning is not."""


class ActivityCalendar:
    """`activations` counts how often the passive calendar became the active one."""

    __slots__ = ("_active", "_armed", "_armed_at", "_passive", "activations", "past_at_once")

    def __init__(self, *, past_at_once: bool = True) -> None:
        self._active = factory_calendar()
        self._passive = list(self._active)
        self._armed = DISARMED
        self._armed_at: float | None = None
        self.activations = 0
        self.past_at_once = past_at_once

    def active(self, part: int) -> Data:
        return self._active[part]

    def passive(self, part: int) -> Data:
        return self._passive[part]

    def write_passive(self, part: int, value: Data) -> None:
        """Raises WrongType or WrongValue and changes nothing; references between the parts are not yet looked at."""
        if not matches(value, SHAPES[part]):
            raise WrongType
        _CHECKS[part](value)
        self._passive[part] = value

    def activate(self) -> None:
        """The passive calendar becomes the active one; raises WrongValue where it is not whole in itself."""
        _check_references(self._passive)
        self._active = list(self._passive)
        self.activations += 1

    @property
    def armed(self) -> bytes:
        """activate_passive_calendar_time, 12 octets; all unspecified where nothing is armed."""
        return self._armed

    @property
    def armed_at(self) -> float | None:
        """The armed moment in seconds since 1970 UTC."""
        return self._armed_at

    def arm(self, octets: bytes, zone: tzinfo, now: float) -> None:
        """Sets the moment of activation, or with all fields unspecified none.

        `zone` is the meter's own, for a time without deviation; raises WrongValue where only some fields say
        anything. A moment that is past activates at once, or where the meter is not built so, never.
        """
        moment = CosemDateTime.decode(octets)
        if moment.is_unspecified:
            self._armed, self._armed_at = DISARMED, None
            return
        try:
            moment.check()
            at = moment.to_datetime(zone=zone).timestamp()
        except (DecodeError, EncodeError, OverflowError) as exc:
            raise WrongValue from exc
        if at <= now and not self.past_at_once:
            at = float("inf")
        self._armed, self._armed_at = octets, at

    def run(self, now: float) -> bool:
        """Activates if the armed moment has come; returns whether the active calendar changed."""
        if self._armed_at is None or now < self._armed_at:
            return False
        self._armed, self._armed_at = DISARMED, None
        try:
            self.activate()
        except WrongValue:
            return False
        return True


def factory_calendar() -> list[Data]:
    """One season, one week, one day with a night and a day tariff."""

    def action(time: str, selector: int) -> Data:
        return Data.structure(
            [
                Data.octets(CosemTime.parse(time).encode()),
                Data.octets(TARIFF_SCRIPTS),
                Data.long_unsigned(selector),
            ]
        )

    start = Data.octets(bytes.fromhex("FFFF0101FF000000FF8000FF"))
    return [
        Data.octets(b"FACTORY"),
        Data.array([Data.structure([Data.octets(b"1"), start, Data.octets(b"1")])]),
        Data.array([Data.structure([Data.octets(b"1"), *[Data.unsigned(1)] * 7])]),
        Data.array(
            [Data.structure([Data.unsigned(1), Data.array([action("00:00", 2), action("07:00", 1)])])],
        ),
    ]


def _check_name(value: Data) -> None:
    if len(value.value) > MAX_NAME:
        raise WrongValue


def _check_table(value: Data, limit: int) -> None:
    keys = [row.value[0].value for row in value.value]
    if len(keys) > limit or len(set(keys)) != len(keys):
        raise WrongValue


def _check_seasons(value: Data) -> None:
    _check_table(value, MAX_SEASONS)
    for row in value.value:
        start = CosemDateTime.decode(row.value[1].value)
        try:
            start.check()
        except EncodeError as exc:
            raise WrongValue from exc


def _check_weeks(value: Data) -> None:
    _check_table(value, MAX_WEEKS)


def _check_days(value: Data) -> None:
    _check_table(value, MAX_DAYS)
    for row in value.value:
        actions = row.value[1].value
        times = [CosemTime.decode(action.value[0].value) for action in actions]
        if len(actions) > MAX_ACTIONS or any(ANY in (time.hour, time.minute) for time in times):
            raise WrongValue
        if any(replace(earlier, hundredths=0) >= replace(later, hundredths=0) for earlier, later in pairwise(times)):
            raise WrongValue
        try:
            for time in times:
                time.check()
        except EncodeError as exc:
            raise WrongValue from exc


_CHECKS = (_check_name, _check_seasons, _check_weeks, _check_days)


def _check_references(calendar: list[Data]) -> None:
    weeks = {row.value[0].value for row in calendar[WEEKS].value}
    days = {row.value[0].value for row in calendar[DAYS].value}
    if any(row.value[2].value not in weeks for row in calendar[SEASONS].value):
        raise WrongValue
    if any(day.value not in days for row in calendar[WEEKS].value for day in row.value[1:]):
        raise WrongValue
