"""When a passive calendar becomes active: attribute 10 of the activity calendar (catalogue 1.1)."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal

import msgspec
from msgspec.structs import replace

from metercast.commands.parameters import require
from metercast.dlms.data import Data, Tag
from metercast.dlms.datetimes import ANY, CosemDateTime
from metercast.dlms.errors import DecodeError
from metercast.profiles.model import Dates

_SLOWEST_ZONE = timedelta(hours=12)  # UTC-12: a local time comes there last


class LocalTime(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A time of each meter's own zone, as its record's timeZone says."""

    local: str


class Activation(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """`at` is an instant with zone ("2027-01-01T00:00:00+01:00") or {"local": "2027-01-01T00:00:00"}."""

    mode: Literal["immediate", "at", "none", "disarm"]
    at: str | LocalTime | None = None


def check_activation(activation: Activation, now: datetime) -> None:
    """InvalidField where mode and `at` disagree, or the time has no zone, has passed, or is no whole second."""
    path = "activation.at"
    at = activation.at
    if activation.mode != "at":
        require(at is None, path, at, f"mode {activation.mode} takes no time")
        return
    require(at is not None, path, at, "mode at needs a time")
    if isinstance(at, LocalTime):
        moment = _parsed(at.local, f"{path}.local")
        require(moment.tzinfo is None, f"{path}.local", at.local, "a local time has no zone")
        passed = moment.replace(tzinfo=UTC) + _SLOWEST_ZONE <= now
        require(not passed, f"{path}.local", at.local, "the time has passed in every zone")
    else:
        assert isinstance(at, str)
        moment = _parsed(at, path)
        hint = 'a time needs a zone, as in 2027-01-01T00:00:00+01:00; for the meter\'s own write {"local": ...}'
        require(moment.tzinfo is not None, path, at, hint)
        require(moment > now, path, at, "the time has passed")


def _parsed(text: str, path: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        require(False, path, text, "no time; write it as in 2027-01-01T00:00:00+01:00")
        raise AssertionError from None
    require("T" in text.upper(), path, text, "a date and a time, as in 2027-01-01T00:00:00+01:00")
    require(moment.microsecond == 0, path, text, "whole seconds only")
    require(2000 <= moment.year <= 2099, path, text, "the year must be 2000 to 2099")
    return moment


def activation_instant(activation: Activation, zone: tzinfo) -> datetime:
    """The instant in a meter's zone. A local time that its zone skips is taken as the clock shows it then."""
    at = activation.at
    if isinstance(at, LocalTime):
        return datetime.fromisoformat(at.local).replace(tzinfo=zone).astimezone(UTC).astimezone(zone)
    assert isinstance(at, str)
    return datetime.fromisoformat(at).astimezone(zone)


def latest_instant(activation: Activation) -> datetime:
    """When the time of `at` has come to every meter: a local time in the last zone of all."""
    at = activation.at
    if isinstance(at, LocalTime):
        return datetime.fromisoformat(at.local).replace(tzinfo=UTC) + _SLOWEST_ZONE
    assert isinstance(at, str)
    return datetime.fromisoformat(at).astimezone(UTC)


def unspecified(dates: Dates) -> Data:
    """What disarms: every field unspecified."""
    return Data(dates.date_time, CosemDateTime().encode())


def encode_activation(moment: datetime, dates: Dates) -> Data:
    """The meter's local time. Its deviation is given only in the hour that a zone's clock shows twice."""
    ambiguous = moment.replace(fold=0).utcoffset() != moment.replace(fold=1).utcoffset()
    value = CosemDateTime.from_datetime(moment, sign=dates.sign, specify_deviation=ambiguous, specify_status=ambiguous)
    return Data(dates.date_time, replace(value, date=replace(value.date, weekday=ANY)).encode())


def decode_activation(data: Data) -> CosemDateTime | None:
    """What is armed, or None: every field unspecified, or what meters hold that were never armed (zeros, nothing)."""
    if data.tag is Tag.NULL_DATA:
        return None
    octets = data.octet_string()
    if not any(octets):
        return None
    if len(octets) != 12:
        raise DecodeError(f"a date-time has 12 octets, not {len(octets)}")
    value = CosemDateTime.decode(octets)
    return None if value.is_unspecified else value


def activation_text(value: CosemDateTime | None) -> str | None:
    """The armed time for a result: the meter's local time, with * for what is not specified."""
    return None if value is None else f"{value.date}T{value.time}"
