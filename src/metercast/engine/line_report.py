"""The report of the lines that will not do: the first of them in full, and how many there are."""

import msgspec

from metercast.domain.problem import InvalidField, Problem

MAX_ERRORS = 100


class LineError(msgspec.Struct, frozen=True):
    """One bad line. `received` is None where it could be a secret."""

    line: int
    path: str
    reason: str
    received: str | None = None


class InvalidLines(Problem):
    """Nothing was done. `errors` are the first of `count`."""

    status = 422
    title = "Invalid lines"

    def __init__(self, nothing: str, errors: list[LineError], count: int) -> None:
        first = errors[0]
        more = f"; {count} lines in all" if count > 1 else ""
        super().__init__(f"{nothing}: line {first.line}: {first.path}: {first.reason}{more}")
        self.errors = errors
        self.count = count


class LineReport:
    """Collects bad lines. `nothing` says what was not done because of them, as in "nothing was imported"."""

    def __init__(self, nothing: str) -> None:
        self.count = 0
        self._nothing = nothing
        self._errors: list[LineError] = []

    @property
    def room(self) -> int:
        """How many more errors are reported in full."""
        return MAX_ERRORS - len(self._errors)

    def add(self, line: int, problem: Problem) -> None:
        self.count += 1
        if not self.room:
            return
        if isinstance(problem, InvalidField):
            self._errors.append(LineError(line, problem.path, problem_reason(problem), problem.received))
        else:
            self._errors.append(LineError(line, "line", problem.detail))

    def add_more(self, count: int) -> None:
        """Bad lines that are only counted."""
        self.count += count

    def check(self) -> None:
        """Raises InvalidLines where there was a bad line."""
        if self.count:
            raise InvalidLines(self._nothing, sorted(self._errors, key=lambda error: error.line), self.count)


def problem_reason(problem: InvalidField) -> str:
    """Why, without the path and the value that `detail` names too."""
    reason = problem.detail.removeprefix(f"{problem.path}: ")
    return reason.removesuffix(f"; received {problem.received}")
