"""What a probe asks of a meter through one association: its list of objects first, then what names and describes it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from metercast.commands.meter.read_association import objects_json
from metercast.dlms.acse import ApplicationContext, Mechanism
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data, Tag
from metercast.dlms.datetimes import NO_DEVIATION, CosemDateTime, DeviationSign
from metercast.dlms.describe import describe_data
from metercast.dlms.errors import DecodeError
from metercast.dlms.logical_name import LogicalName
from metercast.probe.association import NotRead, ProbeAssociation
from metercast.probe.report import ClockFacts, KnownAssociation, LogicalDevice, ReadAttribute, Report

MAX_ASSOCIATIONS: Final = 8
MAX_LOGICAL_DEVICES: Final = 100
CLEAR_SECONDS: Final = 900  # a clock further off than this tells nothing about its deviation's sign
_SHOWN_CHARACTERS: Final = 200
_OID: Final = bytes.fromhex("6085740508")
_CLOCK: Final = "0.0.1.0.0.255"
_COUNTERS: Final = tuple(f"0.0.43.1.{instance}.255" for instance in range(4))

Now = Callable[[], datetime]


class Reading:
    """Reads into a report. Ends, without error, where the association is over."""

    def __init__(self, association: ProbeAssociation, client_sap: int, report: Report, now: Now) -> None:
        self._association = association
        self._client_sap = client_sap
        self._report = report
        self._now = now
        self._readable: set[tuple[int, str, int]] | None = None

    async def everything(self) -> None:
        """In the order of what is worth most, should the meter end it early."""
        try:
            await self._identity()
            await self._invocation_counters()
            await self._clock()
            await self._object_list()
            await self._security()
            await self._logical_devices()
        except NotRead as over:
            self._report.notes.append(f"client {self._client_sap}: {over}; nothing more was asked")

    async def _identity(self) -> None:
        identity = self._report.identity
        name = _text(await self._read(1, "0.0.42.0.0.255", 2))
        identity.logical_device_name = identity.logical_device_name or name
        identity.serial_number = identity.serial_number or _text(await self._read(1, "0.0.96.1.0.255", 2))
        identity.firmware = identity.firmware or _text(await self._read(1, "1.0.0.2.0.255", 2))
        flag = identity.logical_device_name or ""
        if len(flag) > 3 and flag[:3].isalpha() and flag[:3].isascii() and flag[:3].isupper():
            identity.manufacturer = flag[:3]

    async def _invocation_counters(self) -> None:
        for obis in _COUNTERS:
            number = _number(await self._read(1, obis, 2))
            if number is not None:
                self._report.security.invocation_counters[obis] = number
            elif obis != _COUNTERS[0]:
                break  # further instances are numbered without gaps

    async def _clock(self) -> None:
        asked = self._now()
        data = await self._read(8, _CLOCK, 2)
        half = (self._now() - asked) / 2
        if data is None:
            return
        try:
            value = CosemDateTime.decode(data.octet_string(12))
        except DecodeError as error:
            self._report.notes.append(f"the clock is no date-time: {error}")
            return
        zone = _number(await self._read(8, _CLOCK, 3))
        self._report.clock = clock_facts(value, asked + half, half, zone)

    async def _object_list(self) -> None:
        data = await self._read(15, "0.0.40.0.0.255", 2, shows_value=False)
        if data is None:
            return
        try:
            objects = objects_json(data)
        except DecodeError as error:
            self._report.notes.append(f"the object list can't be read: {error}")
            return
        self._report.objects = objects
        self._report.objects_client_sap = self._client_sap
        self._readable = {
            (found["class"], found["obis"], right["attribute"])
            for found in objects
            for right in found["attributes"]
            if "read" in right["access"] or any(each.startswith("mode") for each in right["access"])
        }

    async def _security(self) -> None:
        security = self._report.security
        found = [each["obis"] for each in self._report.objects if each["class"] == 15]
        for obis in found[:MAX_ASSOCIATIONS] or ["0.0.40.0.0.255"]:
            known = KnownAssociation(obis=obis)
            known.client_sap = _client_in(await self._read(15, obis, 3))
            known.context = _context(await self._read(15, obis, 4))
            known.mechanism = _mechanism(await self._read(15, obis, 6))
            if known.client_sap is not None or known.mechanism is not None or known.context is not None:
                security.associations = [each for each in security.associations if each.obis != obis] + [known]
        setup = next((each["obis"] for each in self._report.objects if each["class"] == 64), "0.0.43.0.0.255")
        policy = _number(await self._read(64, setup, 2))
        security.policy_code = security.policy_code if policy is None else policy
        suite = _number(await self._read(64, setup, 3))
        security.suite = security.suite if suite is None else suite
        title = await self._read(64, setup, 5)
        if title is not None and title.tag is Tag.OCTET_STRING and len(title.value) == 8:
            self._report.identity.system_title = title.value.hex().upper()

    async def _logical_devices(self) -> None:
        data = await self._read(17, "0.0.41.0.0.255", 2)
        if data is None:
            return
        try:
            rows = [row.elements(2) for row in data.elements()[:MAX_LOGICAL_DEVICES]]
            self._report.logical_devices = [
                LogicalDevice(sap=sap.number(), name=_text(name) or "") for sap, name in rows
            ]
        except DecodeError as error:
            self._report.notes.append(f"the list of logical devices can't be read: {error}")

    async def _read(self, class_id: int, obis: str, index: int, *, shows_value: bool = True) -> Data | None:
        """None where it can't be read, or the object list says that it can't. Raises NotRead where all is over."""
        if self._readable is not None and (class_id, obis, index) not in self._readable:
            return None
        attribute = CosemAttribute(class_id, LogicalName.parse(obis), index)
        read = ReadAttribute(client_sap=self._client_sap, attribute=str(attribute))
        self._report.reads.append(read)
        try:
            data = await self._association.get(attribute)
        except NotRead as error:
            read.error = str(error)
            if error.is_over:
                raise
            return None
        shown = " ".join(line.strip() for line in describe_data(data).lines()) if shows_value else "read"
        read.value = shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}..."
        return data


def clock_facts(value: CosemDateTime, reference: datetime, half: timedelta, zone_minutes: int | None) -> ClockFacts:
    """Which sign the deviation has: the standard's reading or the other, whichever is nearer to `reference`."""
    facts = ClockFacts(
        time=str(value),
        daylight_saving=value.daylight_saving,
        time_zone_minutes=zone_minutes,
        uncertainty_seconds=round(half.total_seconds(), 3),
    )
    if value.deviation == NO_DEVIATION:
        return facts
    facts.deviation_minutes = value.deviation
    differences = {}
    for name, sign in (("standard", DeviationSign.STANDARD), ("inverted", DeviationSign.INVERTED)):
        try:
            differences[name] = (value.to_datetime(sign=sign).astimezone(UTC) - reference).total_seconds()
        except (DecodeError, OverflowError, ValueError):
            facts.sign = "not clear"
            return facts
    nearer = min(differences, key=lambda name: abs(differences[name]))
    if value.deviation == 0:
        facts.sign = "not told"
    elif abs(differences[nearer]) > CLEAR_SECONDS:
        facts.sign = "not clear"
    else:
        facts.sign = nearer
    facts.difference_seconds = round(differences[nearer], 3)
    return facts


def _text(data: Data | None) -> str | None:
    """Printable text, or hexadecimal digits."""
    if data is None or data.tag is Tag.NULL_DATA:
        return None
    value: Any = data.value
    if isinstance(value, bytes):
        trimmed = value.rstrip(b"\0 ")
        if trimmed and trimmed.isascii() and trimmed.decode("ascii").isprintable():
            return trimmed.decode("ascii")
        return value.hex().upper() or None
    if isinstance(value, str):
        return value.rstrip("\0 ") or None
    return str(value) if isinstance(value, int) else None


def _number(data: Data | None) -> int | None:
    try:
        return None if data is None else data.number()
    except DecodeError:
        return None


def _client_in(data: Data | None) -> int | None:
    """The client's address is an integer of eight bits: those above 127 come negative."""
    try:
        return None if data is None else data.elements(2)[0].number() & 0xFF
    except DecodeError:
        return None


def _context(data: Data | None) -> str | None:
    return _named(data, 1, {each.value: each.name for each in ApplicationContext})


def _mechanism(data: Data | None) -> str | None:
    return _named(data, 2, {each.value: each.name for each in Mechanism})


def _named(data: Data | None, arc: int, names: dict[int, str]) -> str | None:
    """The last number of an object identifier, which comes as octets or as a structure of its numbers."""
    number: int | None = None
    if data is None:
        return None
    try:
        if data.tag is Tag.OCTET_STRING:
            octets = data.value[-7:]
            number = octets[6] if len(octets) == 7 and octets[:6] == _OID + bytes([arc]) else None
        else:
            number = data.elements()[-1].number()
    except (DecodeError, IndexError):
        return None
    return None if number is None else names.get(number, str(number)).lower().replace("_", "-")
