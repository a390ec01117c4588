"""What a simulated meter keeps of one push setup, and what it makes of it: destination, windows, delays."""

from datetime import datetime
from random import Random
from typing import Final, NamedTuple, Protocol

from metercast.dlms.data import Data
from metercast.dlms.datetimes import ANY, ANY_YEAR, CosemDateTime
from metercast.dlms.errors import DecodeError
from metercast.dlms.logical_name import LogicalName

PUSH_SETUPS: Final = tuple(LogicalName.parse(f"0.{version}.25.9.0.255") for version in range(3))
"""By the version of the class."""

TCP, UDP = 0, 1
_A_XDR = 0
_PORT = 4059
_OBJECTS, _DESTINATION, _WINDOWS, _RANDOMISATION, _RETRIES, _REPETITION_DELAY = range(2, 8)
_CLIENT = 9


class Destination(NamedTuple):
    transport: int
    host: str
    port: int


class PushSetup:
    """Attributes by index, as they were written last."""

    __slots__ = ("values", "version")

    def __init__(self, version: int) -> None:
        self.version = version
        never = Data.octets(CosemDateTime().encode())
        delays = [Data.long_unsigned(each) for each in (0, 100, 0)]
        self.values: dict[int, Data] = {
            _OBJECTS: Data.array([]),
            _DESTINATION: Data.structure([Data.enum(TCP), Data.octets(b""), Data.enum(_A_XDR)]),
            _WINDOWS: Data.array([]),
            _RANDOMISATION: Data.long_unsigned(0),
            _RETRIES: Data.unsigned(0),
            _REPETITION_DELAY: Data.structure(delays) if version == 2 else Data.long_unsigned(0),
            8: Data.octets(bytes(6)),
            _CLIENT: Data.integer(1),
            11: Data.enum(0),
            12: Data.structure([never, Data.double_long_unsigned(0)]),
        }

    @property
    def objects(self) -> list[Data]:
        return list(self.values[_OBJECTS].value)

    @property
    def client_sap(self) -> int:
        """The SAP that pushes go to; version 0 says none."""
        sap: int = self.values[_CLIENT].value
        return max(sap, 0)

    @property
    def retries(self) -> int:
        retries: int = self.values[_RETRIES].value
        return retries

    def destination(self) -> Destination:
        """DecodeError where it is none that the simulator can send to: TCP or UDP, A-XDR, host and port."""
        transport, address, message = (part.value for part in self.values[_DESTINATION].value)
        host, separator, port = address.decode("latin-1").rpartition(":")
        if not separator:
            host, port = port, str(_PORT)
        if transport not in (TCP, UDP) or message != _A_XDR or not host or not (port.isascii() and port.isdigit()):
            raise DecodeError("a destination that can't be sent to")
        if not 1 <= int(port[:6]) <= 0xFFFF:
            raise DecodeError(f"port {port[:6]}")
        return Destination(transport, host, int(port))

    def is_open(self, now: datetime) -> bool:
        """Whether one of the windows is open at that local time; without any always."""
        windows = self.values[_WINDOWS].value
        return not windows or any(_contains(window, now) for window in windows)

    def first_delay(self, random: Random) -> float:
        """Seconds; at random up to the randomisation interval."""
        return random.uniform(0.0, self.values[_RANDOMISATION].value)

    def delay_before_retry(self, number: int) -> float:
        """Seconds before retry `number`, from 0: in version 2 each is a percentage of the one before, up to a limit."""
        delay = self.values[_REPETITION_DELAY]
        if self.version < 2:
            return float(delay.value)
        least, exponent, greatest = (part.value for part in delay.value)
        for _ in range(number):
            least = min(greatest, least * exponent / 100)
        return float(min(greatest, least))


class Pusher(Protocol):
    def push(self, setup: PushSetup) -> None:
        """Begins to send what the setup says, in its window, with its delays and repetitions."""
        ...

    def reset(self, setup: PushSetup) -> None:
        """Ends what is still being sent of it."""
        ...


def _contains(window: Data, now: datetime) -> bool:
    """Fields that are left open are those of now; a window may reach over midnight."""
    start, end = (CosemDateTime.decode(part.value) for part in window.value)
    if any(edge.date.weekday not in (ANY, now.isoweekday()) for edge in (start, end)):
        return False
    try:
        begins, ends = _filled(start, now), _filled(end, now)
    except ValueError:  # a day that this month does not have
        return False
    return begins <= now < ends if begins <= ends else now >= begins or now < ends


def _filled(edge: CosemDateTime, now: datetime) -> datetime:
    (year, month, day, _), (hour, minute, second, _) = edge.date, edge.time
    return now.replace(
        year=now.year if year == ANY_YEAR else year,
        month=now.month if month > 12 else month,
        day=now.day if day > 31 else day,
        hour=now.hour if hour == ANY else hour,
        minute=now.minute if minute == ANY else minute,
        second=now.second if second == ANY else second,
        microsecond=0,
    )
