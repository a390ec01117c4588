"""Throws cases at targets and says what was found: another exception, too much memory, too much time.

A case is known by the seed, the target and its number, so each can be had again.
"""

import time
import tracemalloc
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from tests.fuzz.octets import some
from tests.fuzz.targets import Target

CPU_SECONDS = 10.0
MEMORY_ALLOWED = 16 << 20
MEMORY_PER_OCTET = 4096
_MEASURED_EACH = 50
_SHRINKING = 300


class Finding(NamedTuple):
    target: str
    case: str
    messages: list[bytes]
    what: str

    def __str__(self) -> str:
        shown = " ".join(message.hex() or "-" for message in self.messages)
        return f"{self.target}: {self.what}\n  case {self.case}: {shown[:1000]}"


def messages_of(seed: int, target: Target, number: int) -> list[bytes]:
    random = Random(f"{seed}/{target.name}/{number}")
    return [some(random, target.seeds) for _ in range(random.choice((1, 1, 2, 3, 5)))]


def cases(target: Target, seed: int, numbers: range) -> Iterator[Finding]:
    """What is found in the cases of these numbers."""
    for number in numbers:
        messages = messages_of(seed, target, number)
        what = _tried(target, messages, measures=number % _MEASURED_EACH == 0)
        if what is not None:
            yield Finding(target.name, f"{seed}/{number}", shrunk(target, messages, what), what)


def run_for(targets: Sequence[Target], seed: int, seconds: float) -> Iterator[Finding | int]:
    """Findings as they come, and at the end how many cases there were. Every target has its turn, again and again."""
    end = time.monotonic() + seconds
    count = number = 0
    while time.monotonic() < end:
        for target in targets:
            yield from cases(target, seed, range(number, number + 50))
            count += 50
        number += 50
    yield count


def shrunk(target: Target, messages: list[bytes], what: str) -> list[bytes]:
    """Shorter messages with the same finding, as far as some tries go."""
    tries = _SHRINKING
    best = messages
    size = max(map(len, messages), default=0) // 2 or 1
    while tries and size:
        for shorter in _shorter(best, size):
            tries -= 1
            if not tries:
                break
            if _tried(target, shorter, measures=False) == what:
                best = shorter
                break
        else:
            size //= 2
    return best


def _shorter(messages: list[bytes], size: int) -> Iterator[list[bytes]]:
    if len(messages) > 1:
        yield from (messages[:at] + messages[at + 1 :] for at in range(len(messages)))
    for index, message in enumerate(messages):
        for at in range(0, len(message), size):
            yield [*messages[:index], message[:at] + message[at + size :], *messages[index + 1 :]]


def _tried(target: Target, messages: list[bytes], *, measures: bool) -> str | None:
    """What is wrong with it; None where nothing is."""
    if measures:
        tracemalloc.start()
    began = time.process_time()
    try:
        target.run(messages)
    except target.errors:
        pass
    except MemoryError:
        return "MemoryError"
    except Exception as error:
        frame = _place(error)
        return f"{type(error).__name__} at {frame}"
    finally:
        took = time.process_time() - began
        peak = tracemalloc.get_traced_memory()[1] if measures else 0
        if measures:
            tracemalloc.stop()
    allowed = MEMORY_ALLOWED + MEMORY_PER_OCTET * sum(map(len, messages))
    if peak > allowed:
        return f"{peak >> 20} MiB of memory"
    return f"{CPU_SECONDS:g} s of CPU and more" if took > CPU_SECONDS else None


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    assert trace is not None
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
