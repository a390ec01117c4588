"""`python -m tests.fuzz --seconds 300`: throws octets at every parser and says what was found. `make fuzz` runs it."""

import argparse
import faulthandler
import secrets
import sys

from tests.fuzz.running import Finding, cases, run_for
from tests.fuzz.targets import targets

STUCK_SECONDS = 120


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Throws octets at every parser.")
    options.add_argument("--seconds", type=float, default=20.0)
    options.add_argument(
        "--seed", type=int, default=secrets.randbelow(1 << 32), help="without it another one each time"
    )
    options.add_argument("--target", default="", help="only those whose name holds this")
    options.add_argument("--case", type=int, help="this one case, of --seed and each --target")
    options.add_argument("--list", action="store_true", help="name the targets")
    given = options.parse_args()
    chosen = [target for target in targets() if given.target in target.name]
    if given.list:
        print(*(target.name for target in chosen), sep="\n")
        return 0
    faulthandler.dump_traceback_later(given.seconds + STUCK_SECONDS, exit=True)
    print(f"seed {given.seed}, {len(chosen)} targets", flush=True)
    if given.case is not None:
        findings: list[Finding | int] = [
            f for t in chosen for f in cases(t, given.seed, range(given.case, given.case + 1))
        ]
        print(*findings, sep="\n")
        return 1 if findings else 0
    seen: set[tuple[str, str]] = set()
    for found in run_for(chosen, given.seed, given.seconds):
        if isinstance(found, int):
            print(f"{found} cases, {len(seen)} findings")
        elif (found.target, found.what) not in seen:
            seen.add((found.target, found.what))
            print(found, flush=True)
    return 1 if seen else 0


if __name__ == "__main__":
    sys.exit(main())
