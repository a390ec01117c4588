"""`python -m bench [NAME ...]`: runs the benchmarks and exits non-zero where a figure misses its bar."""

import importlib
import logging
import sys

import structlog

from bench.figure import Figure

BENCHMARKS = ("dlms_session", "store", "noop_engine", "product")


def show(figure: Figure) -> str:
    bar = "" if figure.bar is None else f"  (bar: {'at most' if figure.at_most else 'at least'} {figure.bar:g})"
    verdict = "     " if figure.bar is None else "ok   " if figure.holds else "BELOW"
    detail = f"\n        {figure.detail}" if figure.detail else ""
    return f"  {verdict} {figure.name}: {figure.value:,.3g} {figure.unit}{bar}{detail}"


def main(names: list[str]) -> int:
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    missed = 0
    for name in names or BENCHMARKS:
        print(f"{name}", flush=True)
        figures: list[Figure] = importlib.import_module(f"bench.{name}").run()
        for figure in figures:
            print(show(figure), flush=True)
            missed += not figure.holds
    print(f"{missed} below the bar" if missed else "all bars hold")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
