"""SET_SPECIAL_DAYS on a fake meter."""

from typing import Any

import pytest
from tests.commands.fake_session import FakeSession, attribute, run

from metercast.commands.contract import StepFailed
from metercast.commands.date_text import parse_date
from metercast.commands.tariff.set_special_days import Entry
from metercast.dlms.data import Data, Tag
from metercast.domain.outcome import How
from metercast.domain.problem import InvalidField
from metercast.domain.words import ErrorWord

OBIS = "0.0.11.0.0.255"
CHRISTMAS: dict[str, Any] = {"index": 1, "date": "2026-12-25", "dayId": 3}
YEARLY: dict[str, Any] = {"index": 2, "date": "*-01-01", "dayId": 4}


def table(*entries: tuple[int, str, int]) -> Data:
    return Data.array([Entry(index, parse_date(date), day).encode(Tag.OCTET_STRING) for index, date, day in entries])


class DaysMeter(FakeSession):
    def __init__(self, *entries: tuple[int, str, int]) -> None:
        super().__init__({(11, OBIS, 2): table(*entries)})
        self.actions = {"11/1": self._insert, "11/2": self._delete}

    @property
    def table(self) -> list[Data]:
        found: list[Data] = self.objects[attribute(11, OBIS, 2)].value
        return found

    def _insert(self, parameter: Data | None) -> None:
        assert parameter is not None
        index, date, _ = parameter.value
        self._put([*(each for each in self.table if each.value[0] != index and each.value[1] != date), parameter])

    def _delete(self, parameter: Data | None) -> None:
        self._put([each for each in self.table if each.value[0] != parameter])

    def _put(self, entries: list[Data]) -> None:
        self.objects[attribute(11, OBIS, 2)] = Data.array(entries)


async def test_replace_writes_the_catalogues_octets_and_reads_back() -> None:
    session = DaysMeter((7, "2025-12-25", 1))
    outcome = await run(session, "SET_SPECIAL_DAYS", {"entries": [CHRISTMAS]})
    assert outcome.how is How.DONE
    assert outcome.result == {"entries": [CHRISTMAS]}
    assert session.log == ["get 11/2", "set 11/2", "get 11/2"]
    assert session.apdus[1] == "c101c1000b00000b0000ff020001010203120001090507ea0c19ff1103"


async def test_merge_inserts_and_deletes_what_differs_only() -> None:
    session = DaysMeter((1, "2026-12-25", 3), (4, "*-05-last", 2), (9, "*-01-01", 1))
    outcome = await run(
        session, "SET_SPECIAL_DAYS", {"mode": "merge", "entries": [CHRISTMAS, YEARLY], "delete": [4, 8]}
    )
    assert outcome.result == {"entries": [CHRISTMAS, YEARLY]}
    assert session.changes == ["action 11/2", "action 11/1"]
    assert session.apdus[1] == "c301c1000b00000b0000ff0201120004"


async def test_what_is_so_already_is_not_written() -> None:
    session = DaysMeter((1, "2026-12-25", 3))
    assert (await run(session, "SET_SPECIAL_DAYS", {"entries": [CHRISTMAS]})).how is How.ALREADY_SO
    assert (await run(session, "SET_SPECIAL_DAYS", {"mode": "merge", "delete": [5]})).how is How.ALREADY_SO
    assert session.changes == []


async def test_an_empty_table_is_a_table() -> None:
    session = DaysMeter((1, "2026-12-25", 3))
    assert (await run(session, "SET_SPECIAL_DAYS", {})).how is How.DONE
    assert session.table == []


async def test_a_lost_answer_of_any_step_is_made_good_by_the_next_session() -> None:
    raw = {"mode": "merge", "entries": [CHRISTMAS, YEARLY], "delete": [4]}
    for step in ("action 11/2", "action 11/1", "get 11/2"):
        session = DaysMeter((4, "*-05-last", 2))
        session.fail[step] = [StepFailed(ErrorWord.TIMEOUT, "lost")]
        with pytest.raises(StepFailed):
            await run(session, "SET_SPECIAL_DAYS", raw)
        session.fail.clear()
        assert (await run(session, "SET_SPECIAL_DAYS", raw)).result == {"entries": [CHRISTMAS, YEARLY]}


async def test_a_read_back_that_differs_fails() -> None:
    session = DaysMeter()
    session.store = lambda attribute, value: None  # type: ignore[method-assign]
    with pytest.raises(StepFailed) as caught:
        await run(session, "SET_SPECIAL_DAYS", {"entries": [CHRISTMAS]})
    assert caught.value.error is ErrorWord.VERIFICATION_FAILED


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({"entries": [{**CHRISTMAS, "date": "2026-13-25"}]}, "entries[0].date"),
        ({"entries": [{**CHRISTMAS, "date": "2026-02-30"}]}, "entries[0].date"),
        ({"entries": [{**CHRISTMAS, "date": "25.12.2026"}]}, "entries[0].date"),
        ({"entries": [{**CHRISTMAS, "date": "*-00-00"}]}, "entries[0].date"),
        ({"entries": [CHRISTMAS, {**YEARLY, "index": 1}]}, "entries[1].index"),
        ({"entries": [{**CHRISTMAS, "dayId": 256}]}, "entries[0].dayId"),
        ({"entries": [CHRISTMAS], "delete": [1]}, "delete"),
        ({"mode": "merge", "entries": [CHRISTMAS], "delete": [1]}, "delete[0]"),
        ({"mode": "merge"}, "entries"),
    ],
)
async def test_what_will_not_do_is_refused_before_any_step(raw: dict[str, Any], path: str) -> None:
    session = DaysMeter()
    with pytest.raises(InvalidField) as caught:
        await run(session, "SET_SPECIAL_DAYS", raw)
    assert caught.value.path == f"commandParams.{path}"
    assert session.log == []
