"""`python -m bench [--markdown] [NAME ...]`: runs the benchmarks and exits non-zero where a figure misses its bar.

With --markdown the figures are printed once more at the end, as the table that docs/performance.md shows.
"""

import importlib
import logging
import signal
import sys
import time

import structlog

from bench.figure import Figure

BENCHMARKS = (
    "dlms_session",
    "sqlite_store",
    "postgres_store",
    "mongo_store",
    "noop_engine",
    "queues",
    "history",
    "memory",
    "product",
    "firmware",
)


def value(figure: Figure) -> str:
    return f"{figure.value:,.3g} {figure.unit}".strip()


def bar(figure: Figure) -> str:
    return "" if figure.bar is None else f"{'at most' if figure.at_most else 'at least'} {figure.bar:g}"


def show(figure: Figure) -> str:
    verdict = "     " if figure.bar is None else "ok   " if figure.holds else "BELOW"
    held_against = f"  (bar: {bar(figure)})" if figure.bar is not None else ""
    detail = f"\n        {figure.detail}" if figure.detail else ""
    return f"  {verdict} {figure.name}: {value(figure)}{held_against}{detail}"


def table(figures: list[Figure]) -> str:
    """Markdown. A value that misses its bar is bold."""
    lines = ["| figure | value | bar | detail |", "|---|---|---|---|"]
    for each in figures:
        shown = value(each) if each.holds else f"**{value(each)}**"
        lines.append(f"| {each.name} | {shown} | {bar(each)} | {each.detail} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    names = [each for each in arguments if each != "--markdown"]
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    figures: list[Figure] = []
    for name in names or BENCHMARKS:
        print(f"{name}", flush=True)
        began = time.monotonic()
        found: list[Figure] = importlib.import_module(f"bench.{name}").run()
        for figure in found:
            print(show(figure), flush=True)
        print(f"        {time.monotonic() - began:.0f} s", flush=True)
        figures += found
    missed = sum(not figure.holds for figure in figures)
    print(f"{missed} below the bar" if missed else "all bars hold")
    if "--markdown" in arguments:
        print(table(figures))
    return 1 if missed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # what was started is ended and removed
    sys.exit(main(sys.argv[1:]))
