"""What the demo does, and what must come of it: the fleet, the meters that are faulty on purpose, the calendar."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

Json = dict[str, Any]

MIN_METERS = 6  # three kinds of meters, and a few that are faulty
MAX_METERS = 5000
GATEWAY_METERS = 10  # fewer where there are few meters: those behind it are not faulty
MAX_ATTEMPTS = 5

CALENDAR: Json = {
    "calendarName": "SUMMER",
    "activation": {"mode": "immediate"},
    "seasons": [
        {"name": "LOW", "start": {"month": 4, "day": 1, "time": "00:00:00"}, "week": "W1"},
        {"name": "HIGH", "start": {"month": 10, "day": 1, "time": "00:00:00"}, "week": "W2"},
    ],
    "weeks": [
        {"name": "W1", "days": [1, 1, 1, 1, 1, 2, 2]},
        {"name": "W2", "days": [1, 1, 1, 1, 1, 1, 2]},
    ],
    "days": [
        {
            "id": 1,
            "schedule": [
                {"start": "00:00:00", "script": "0.0.10.0.100.255", "selector": 2},
                {"start": "07:00:00", "script": "0.0.10.0.100.255", "selector": 1},
                {"start": "23:00:00", "script": "0.0.10.0.100.255", "selector": 2},
            ],
        },
        {"id": 2, "schedule": [{"start": "00:00:00", "script": "0.0.10.0.100.255", "selector": 2}]},
    ],
}


class Misfits(NamedTuple):
    """Meters with one fault, by number; `error` is the word that they must end with, None where they recover."""

    numbers: tuple[int, ...]
    fault: Json
    error: str | None
    story: str


# Meter 1 uses no authentication, 2 LLS, 3 HLS, and so on: a wrong key needs LLS or HLS.
MISFITS = (
    Misfits((4, 8), {"kind": "refuse-connections"}, "Expired", "refuse connections until the task expires"),
    Misfits((5, 9), {"kind": "wrong-key"}, "AuthenticationFailed", "hold another password or other keys"),
    Misfits((11,), {"kind": "never-answer"}, "Timeout", "never answers"),
    Misfits((14,), {"kind": "another-identity"}, "IdentityMismatch", "is another meter than its record says"),
    Misfits((6, 10), {"kind": "temporary-failures"}, None, "answer temporary-failure once"),
    Misfits(
        (12,), {"kind": "drop-connection", "times": 1, "afterReceived": 700}, None, "drops the connection once, halfway"
    ),
)
LAST_MISFIT = max(number for each in MISFITS for number in each.numbers)


@dataclass(frozen=True, slots=True)
class Plan:
    """The demo with so many meters; `unplanned` are further fault rules, which it must notice."""

    meters: int
    unplanned: tuple[Json, ...] = ()

    @property
    def device_ids(self) -> list[str]:
        return [device_id(number) for number in range(1, self.meters + 1)]

    @property
    def misfits(self) -> list[Misfits]:
        """Those of MISFITS that a fleet of this size has."""
        present = [each._replace(numbers=tuple(n for n in each.numbers if n <= self.meters)) for each in MISFITS]
        return [each for each in present if each.numbers]

    @property
    def gateway_meters(self) -> int:
        """The last meters stand behind one gateway."""
        return min(GATEWAY_METERS, max(0, self.meters - LAST_MISFIT))

    @property
    def fault_rules(self) -> list[Json]:
        planned = [{"faults": [each.fault], "meters": [device_id(n) for n in each.numbers]} for each in self.misfits]
        return [*planned, *self.unplanned]

    @property
    def error_of(self) -> dict[str, str | None]:
        """The word that each device must end with; None where it must succeed."""
        words: dict[str, str | None] = dict.fromkeys(self.device_ids)
        for misfits in self.misfits:
            words.update((device_id(number), misfits.error) for number in misfits.numbers)
        return words

    @property
    def errors(self) -> dict[str, int]:
        """Failures by error word."""
        return dict(Counter(word for word in self.error_of.values() if word is not None))

    @property
    def silence_seconds(self) -> float:
        """How long the server waits for an answer: longer where more meters share this machine."""
        return max(3.0, 2.0 + self.meters / 100)

    @property
    def expires_seconds(self) -> float:
        """Enough for every retry that is worth it; those that refuse connections are given up then."""
        return 2 * self.silence_seconds + max(6.0, 2.0 + self.meters / 20)

    @property
    def limit_seconds(self) -> float:
        """By then the task is over, or something is wrong."""
        return self.expires_seconds + 60.0

    @property
    def retry(self) -> Json:
        return {"maxAttempts": MAX_ATTEMPTS, "initialDelaySeconds": 1, "maxDelaySeconds": 2}

    @property
    def sample(self) -> list[str]:
        """Three devices for a task that fits a screen: without authentication, with HLS, and with a wrong key."""
        return [device_id(1), device_id(3), device_id(5)]


def device_id(number: int) -> str:
    """As the simulator names them."""
    return f"meter-{number:04d}"
