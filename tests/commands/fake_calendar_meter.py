"""The activity calendar of a fake meter: four passive attributes that activate into four active ones."""

from tests.commands.calendars import set_tou
from tests.commands.fake_session import NOW, FakeSession, attribute

from metercast.commands.registry import command_type, parse_parameters
from metercast.commands.tariff.calendar_codec import encode_calendar
from metercast.commands.tariff.set_tou import SetTou
from metercast.dlms.data import Data

OBIS = "0.0.13.0.0.255"
DISARMED = Data.octets(bytes.fromhex("ffffffffffffffffff8000ff"))
OLD = set_tou("none", calendarName="OLD")


def encoded(raw: dict[str, object]) -> tuple[Data, Data, Data, Data]:
    parameters = parse_parameters(command_type("SET_TOU"), raw, NOW)
    assert isinstance(parameters, SetTou)
    return encode_calendar(parameters.calendar)


def calendar_meter(zone: str = "UTC", armed: Data = DISARMED) -> FakeSession:
    """An old calendar is active and passive; activation copies passive to active."""
    objects = {(20, OBIS, 10): armed}
    for index, value in enumerate(encoded(OLD)):
        objects[20, OBIS, 2 + index] = value
        objects[20, OBIS, 6 + index] = value
    session = FakeSession(objects, zone)

    def activate(parameter: Data | None) -> None:
        assert parameter == Data.integer(0)
        for index in range(4):
            session.objects[attribute(20, OBIS, 2 + index)] = session.objects[attribute(20, OBIS, 6 + index)]

    session.actions["20/1"] = activate
    return session
