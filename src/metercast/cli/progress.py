"""A task's progress, as a bar on a terminal, as sparse lines elsewhere, or as JSON lines."""

import sys
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self, TextIO

from metercast.cli.output import Json, ended, errors_text, shown, states_text

if TYPE_CHECKING:
    from rich.console import RenderableType

WINDOW_SECONDS = 20.0
LINE_SECONDS = 2.0


class Rate:
    """Devices per second over the last seconds; `now` is any clock that never goes back."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, now: float, done: int) -> None:
        self._seen.append((now, done))
        while self._seen[-1][0] - self._seen[0][0] > WINDOW_SECONDS:
            self._seen.popleft()

    @property
    def per_second(self) -> float:
        """0 as long as it is not known."""
        (first, before), (last, after) = self._seen[0], self._seen[-1]
        return (after - before) / (last - first) if last > first else 0.0


class Progress(NamedTuple):
    """One look at a task."""

    task: Json
    errors: Sequence[Json]
    elapsed: float
    rate: float

    @property
    def counts(self) -> Json:
        counts: Json = self.task["counts"]
        return counts

    @property
    def done(self) -> int:
        return ended(self.counts)

    @property
    def eta(self) -> float | None:
        """Seconds at this rate until every device was tried; None where nobody can tell. What waits for another
        attempt is left out: when that ends is not a matter of speed."""
        waiting = sum(each["devices"] for each in self.errors if each["commandStatus"] == "PENDING")
        left = self.counts["pending"] + self.counts["sent"] - waiting
        return max(left / self.rate, 1.0) if left > 0 and self.rate > 0 else None

    @property
    def pace(self) -> str:
        """Rate and time left, as far as they are known."""
        parts = [f"{self.rate:.1f} per second"] if self.rate else []
        if self.eta is not None:
            parts.append(f"about {duration(self.eta)} left")
        return ", ".join(parts)


class Display(Protocol):
    """Shows one look after another, within a `with`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, progress: Progress) -> None: ...

    def note(self, text: str) -> None:
        """Something beside the progress, as that the server can't be reached just now."""
        ...


class _Plain:
    """For displays that need no setting up."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._out.flush()

    def note(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")


class LineDisplay(_Plain):
    """A line where something changed, not more often than every two seconds, and one at the end."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self._last: tuple[float, Any] | None = None

    def show(self, progress: Progress) -> None:
        state = (progress.task["status"], progress.task["outcome"], progress.counts)
        if self._last is not None:
            shown_at, shown_state = self._last
            early = progress.elapsed - shown_at < LINE_SECONDS and progress.task["outcome"] is None
            if state == shown_state or early:
                return
        self._last = (progress.elapsed, state)
        counts = progress.counts
        parts = [f"{progress.task['status']} {progress.done} of {counts['total']}: {states_text(counts)}"]
        if progress.task["outcome"] is None and progress.pace:
            parts.append(progress.pace)
        if progress.errors:
            parts.append(errors_text(progress.errors))
        self._out.write(f"{progress.elapsed:6.1f} s  {'; '.join(parts)}\n")
        self._out.flush()


class JsonDisplay(_Plain):
    """The task without its devices, one line a change; the last line is the task as it ended."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self._last: Json | None = None

    def show(self, progress: Progress) -> None:
        import msgspec

        if progress.task != self._last:
            self._last = progress.task
            self._out.write(msgspec.json.encode(progress.task).decode() + "\n")
            self._out.flush()


class BarDisplay:
    """A live bar with counts, rate, time left and failures by error."""

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(file=out, highlight=False), auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, progress: Progress) -> None:
        self._live.update(_bar(progress), refresh=True)

    def note(self, text: str) -> None:
        self._live.console.print(text, markup=False)


def display_for(out: TextIO, *, as_json: bool = False) -> Display:
    """What suits where the output goes."""
    if as_json:
        return JsonDisplay(out)
    return BarDisplay(out) if out.isatty() else LineDisplay(out)


def duration(seconds: float) -> str:
    """As in 8 s, 3 min or 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _bar(progress: Progress) -> "RenderableType":
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    task, counts = progress.task, progress.counts
    head = Table.grid(padding=(0, 1))
    head.add_row(
        Text(f"{task['commandType']} {task['status']}", no_wrap=True),
        ProgressBar(total=counts["total"], completed=progress.done, width=30),
        Text(f"{progress.done}/{counts['total']}", no_wrap=True),
    )
    lines = Text()
    for name, style in (("success", "green"), ("failed", "red"), ("cancelled", "yellow"), ("sent", "cyan")):
        lines.append(f"{counts[name]} {name}   ", style=style if counts[name] else "dim")
    lines.append(f"{counts['pending']} pending\n{duration(progress.elapsed)}")
    if progress.pace:
        lines.append(f", {progress.pace}")
    errors = [
        Text(
            f"  {shown(each['error'])} {each['devices']}"
            f"{'' if each['commandStatus'] == 'FAILED' else ' (waiting for another attempt)'}"
        )
        for each in progress.errors
    ]
    return Group(head, lines, *errors)
