"""What is shown of a task's progress, and how long it will still take."""

import io
import json
from typing import Any

from metercast.cli import exits
from metercast.cli.output import aligned, shown
from metercast.cli.progress import BarDisplay, JsonDisplay, LineDisplay, Progress, Rate, duration


def task(success: int = 0, failed: int = 0, sent: int = 0, total: int = 100, **fields: Any) -> dict[str, Any]:
    counts = {
        "total": total,
        "pending": total - success - failed - sent,
        "sent": sent,
        "success": success,
        "failed": failed,
        "cancelled": 0,
    }
    return {"commandType": "READ_CLOCK", "status": "IN_PROGRESS", "outcome": None, "counts": counts} | fields


WAITING = {"commandStatus": "PENDING", "error": "Timeout", "devices": 30}
FAILED = {"commandStatus": "FAILED", "error": "Expired", "devices": 2}


def test_the_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate()
    rate.add(0.0, 0)
    assert rate.per_second == 0.0
    rate.add(10.0, 100)
    assert rate.per_second == 10.0
    rate.add(25.0, 100)
    assert rate.per_second == 0.0


def test_the_time_left_leaves_out_what_waits_for_another_attempt() -> None:
    assert Progress(task(success=50), (), 5.0, 10.0).eta == 5.0
    assert Progress(task(success=50), (WAITING,), 5.0, 10.0).eta == 2.0
    assert Progress(task(success=70), (WAITING,), 5.0, 10.0).eta is None
    assert Progress(task(success=50), (), 5.0, 0.0).eta is None
    assert Progress(task(success=100), (), 5.0, 10.0).eta is None


def test_durations_have_a_unit() -> None:
    assert [duration(seconds) for seconds in (8, 240, 9000)] == ["8 s", "4 min", "2.5 h"]


def test_lines_are_sparse_and_the_last_one_is_never_left_out() -> None:
    out = io.StringIO()
    with LineDisplay(out) as display:
        display.show(Progress(task(), (), 0.0, 0.0))
        display.show(Progress(task(success=1), (), 0.5, 2.0))  # too early
        display.show(Progress(task(success=20, sent=5), (WAITING,), 2.5, 8.0))
        display.show(Progress(task(success=20, sent=5), (WAITING,), 5.0, 8.0))  # nothing new
        display.show(Progress(task(98, 2, status="COMPLETED", outcome="PARTIAL"), (FAILED,), 5.1, 20.0))
    assert out.getvalue().splitlines() == [
        "   0.0 s  IN_PROGRESS 0 of 100: 100 pending",
        "   2.5 s  IN_PROGRESS 20 of 100: 20 success, 5 sent, 75 pending; 8.0 per second, about 6 s left; "
        "Timeout 30 (waiting)",
        "   5.1 s  COMPLETED 100 of 100: 98 success, 2 failed; Expired 2",
    ]


def test_json_is_a_line_a_change() -> None:
    out = io.StringIO()
    with JsonDisplay(out) as display:
        for success in (0, 0, 100):
            display.show(Progress(task(success), (), 0.0, 0.0))
    assert [json.loads(line)["counts"]["success"] for line in out.getvalue().splitlines()] == [0, 100]


def test_the_bar_shows_counts_pace_and_errors() -> None:
    out = io.StringIO()
    with BarDisplay(out) as display:
        display.show(Progress(task(success=20, failed=2, sent=5), (FAILED, WAITING), 2.5, 8.0))
        display.note("[red]not markup")
    text = out.getvalue()
    for part in ("READ_CLOCK IN_PROGRESS", "22/100", "20 success", "73 pending", "8.0 per second", "Expired 2"):
        assert part in text
    assert "Timeout 30 (waiting for another attempt)" in text
    assert "[red]not markup" in text


def test_exit_codes_of_outcomes() -> None:
    outcomes = ("SUCCEEDED", "PARTIAL", "FAILED", "CANCELLED", None)
    assert [exits.of_outcome(outcome) for outcome in outcomes] == [0, 10, 11, 12, 1]


def test_nothing_that_a_terminal_would_obey_is_shown() -> None:
    assert shown("a\x1b[31mb\n") == "a\N{REPLACEMENT CHARACTER}[31mb\N{REPLACEMENT CHARACTER}"
    assert shown(None) == "-"
    assert list(aligned([["a", "b"], ["long", ""]])) == ["a     b", "long"]
