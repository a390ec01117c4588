"""Exit codes, and which of them an error means."""

import sys

OK = 0
FAILED = 1  # refused by the server, or it went wrong here
USAGE = 2
NOT_REACHED = 3
PARTIAL = 10  # a task that was followed to its end: some devices failed,
NONE_SUCCEEDED = 11  # all did,
CANCELLED = 12  # or it was cancelled
INTERRUPTED = 130
TERMINATED = 143

_OF_OUTCOME = {"SUCCEEDED": OK, "PARTIAL": PARTIAL, "FAILED": NONE_SUCCEEDED, "CANCELLED": CANCELLED}


class CommandFailed(Exception):
    """A command can't go on; the text is one line for people."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def of_outcome(outcome: str | None) -> int:
    return _OF_OUTCOME.get(outcome or "", FAILED)


def say(message: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"metercast: {' '.join(message.split())}\n")


def report(error: Exception) -> int:
    """Says what went wrong; the exit code."""
    from metercast.client import NotReached

    if isinstance(error, CommandFailed):
        say(str(error))
        return error.code
    if isinstance(error, NotReached):
        say(str(error))
        return NOT_REACHED
    text = str(error) or "no reason given"
    expected = type(error).__module__.startswith("metercast.") or isinstance(error, OSError)
    say(text if expected else f"internal error: {type(error).__name__}: {text}")
    return FAILED
