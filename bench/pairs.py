"""Two sides measured in turns: the figure is the median of the rounds' ratios, for the machine's noise hits a round."""

from collections.abc import Sequence
from statistics import median

from bench.figure import Figure


def rate_figure(
    name: str, theirs: Sequence[float], ours: Sequence[float], units: int, bar: float | None, *, what: str, raw: str
) -> Figure:
    """How fast we are, of them: seconds a round for `units` of `what` on both sides."""
    ratio = median(them / us for them, us in zip(theirs, ours, strict=True))
    detail = f"{units / median(ours):,.0f} of {units / median(theirs):,.0f} {what} a second ({raw}); {_rounds(ours)}"
    return Figure(name, ratio, "of raw" if bar is None or bar < 1 else "times", bar, at_most=False, detail=detail)


def time_figure(name: str, theirs: Sequence[float], ours: Sequence[float], bar: float | None, *, raw: str) -> Figure:
    """How long we take, of their time."""
    ratio = median(us / them for them, us in zip(theirs, ours, strict=True))
    detail = f"{_seconds(median(ours))} of {_seconds(median(theirs))} ({raw}); {_rounds(ours)}"
    return Figure(name, ratio, "times", bar, at_most=True, detail=detail)


def _rounds(times: Sequence[float]) -> str:
    return "1 round" if len(times) == 1 else f"{len(times)} rounds"


def _seconds(value: float) -> str:
    return f"{value:,.2f} s" if value >= 1 else f"{value * 1000:,.2f} ms"
