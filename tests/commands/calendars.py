"""Calendars for tests: one as JSON, and generated ones."""

from typing import Any

from hypothesis import strategies as st

CALENDAR: dict[str, Any] = {
    "calendarName": "TOU26",
    "seasons": [{"name": "1", "start": {"month": 4, "day": 1, "time": "00:00:00"}, "week": "1"}],
    "weeks": [{"name": "1", "days": [1, 1, 1, 1, 1, 2, 2]}],
    "days": [
        {"id": 1, "schedule": [{"start": "07:00:00", "script": "0.0.10.0.100.255", "selector": 1}]},
        {
            "id": 2,
            "schedule": [
                {"start": "00:00:00", "script": "0.0.10.0.100.255", "selector": 2},
                {"start": "23:30:00", "script": "0.0.10.0.100.255", "selector": 1},
            ],
        },
    ],
}


def set_tou(mode: str = "immediate", **changes: Any) -> dict[str, Any]:
    return {**CALENDAR, "activation": {"mode": mode}, **changes}


_ascii = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
_names = st.text(_ascii, min_size=1, max_size=16)
_times = st.builds("{:02}:{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))


@st.composite
def calendars(draw: st.DrawFn) -> dict[str, Any]:
    """Any valid calendar, as JSON."""
    ids = draw(st.lists(st.integers(0, 255), min_size=1, max_size=5, unique=True))
    days = [
        {
            "id": each,
            "schedule": [
                {"start": start, "script": "0.0.10.0.100.255", "selector": draw(st.integers(0, 65535))}
                for start in sorted(draw(st.sets(_times, min_size=1, max_size=5)))
            ],
        }
        for each in ids
    ]
    weeks = [
        {"name": name, "days": draw(st.lists(st.sampled_from(ids), min_size=7, max_size=7))}
        for name in draw(st.lists(_names, min_size=1, max_size=4, unique=True))
    ]
    starts = draw(st.sets(st.tuples(st.integers(1, 12), st.integers(1, 28), _times), min_size=1, max_size=4))
    names = draw(st.lists(_names, min_size=len(starts), max_size=len(starts), unique=True))
    seasons = [
        {
            "name": name,
            "start": {"year": None, "month": month, "day": day, "weekday": None, "time": time},
            "week": draw(st.sampled_from(weeks))["name"],
        }
        for name, (month, day, time) in zip(names, sorted(starts), strict=True)
    ]
    return {
        "calendarName": draw(st.text(_ascii, max_size=32)),
        "nameEncoding": "ascii",
        "seasons": seasons,
        "weeks": weeks,
        "days": days,
    }
