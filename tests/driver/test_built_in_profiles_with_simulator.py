"""Meters as each built-in profile says they are: every command that a profile is about, through real sessions."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.commands.calendars import set_tou
from tests.driver.support import driver, execute, meter_of

from metercast.domain.outcome import OutcomeKind
from metercast.driver.timeouts import Timeouts
from metercast.profiles.collection import BUILT_IN
from metercast.simulator.dialect import LIKE
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator

PATIENT = Timeouts(connect=20.0, progress=20.0, session=60.0, release=2.0)
END = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
DAY = {"from": (END - timedelta(hours=6)).isoformat(), "to": END.isoformat()}
COMMANDS: list[tuple[str, dict[str, Any]]] = [
    ("READ_CLOCK", {}),
    ("SYNC_CLOCK", {"strategy": "set", "thresholdSeconds": 0}),
    ("SET_TOU", set_tou()),
    ("GET_TOU", {}),
    ("SET_SPECIAL_DAYS", {"entries": [{"index": 1, "date": "*-12-25", "dayId": 1}]}),
    ("READ_PROFILE", DAY),
    ("READ_EVENTS", {"log": 0}),
    ("READ_SECURITY", {}),
    ("READ_ASSOCIATION", {}),
    ("READ_INSTANTANEOUS", {}),
    ("SET_LIMITER", {"thresholdNormal": 4000}),
    ("DISCONNECT", {}),
    ("RECONNECT", {}),
]


def test_there_is_a_meter_like_each_profile() -> None:
    assert list(BUILT_IN) == sorted(LIKE)
    assert all(dialect.profile == name for name, dialect in LIKE.items())


@pytest.mark.parametrize("name", LIKE)
@pytest.mark.parametrize("explicit", [True, False])
async def test_commands_on_a_meter_like_it(name: str, explicit: bool) -> None:
    """Also where the record leaves the clients' addresses to the profile."""
    population = Population.build(1, security="hls-gmac", dialect=LIKE[name], clock_offset=3.0)
    async with Simulator(population) as simulator:
        (document,) = simulator.device_records()
        assert document["profile"] == name
        if not explicit:
            for association in document["associations"].values():
                del association["clientSap"]
        meter, by = meter_of(document), driver(timeouts=PATIENT)
        for command, raw in COMMANDS:
            outcome = await execute(meter, command, raw, by=by)
            assert outcome.kind is OutcomeKind.SUCCEEDED, f"{command}: {outcome.detail}"
        rows = (await execute(meter, "READ_PROFILE", DAY, by=by)).result["rows"]
        assert len(rows) == 25
