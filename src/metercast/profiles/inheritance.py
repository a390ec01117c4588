"""From files that extend each other to the values of one profile, each with the file that it comes from."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from metercast.profiles.errors import ProfileError
from metercast.profiles.files import ProfileFile

Sources = dict[str, str]


class Merged(NamedTuple):
    """`sources` tells the file of each value by its key with dots; `chain` the profile and whom it extends, and
    `files` the files of these."""

    values: dict[str, Any]
    sources: Sources
    chain: tuple[str, ...]
    files: tuple[str, ...]


def merge(name: str, known: Mapping[str, ProfileFile]) -> Merged:
    """The values of a profile: tables are merged, anything else takes the place of what was extended.

    Raises ProfileError where a profile that is extended is not known, or extends itself at last.
    """
    line = _line(name, known)
    values: dict[str, Any] = {}
    sources: Sources = {}
    for each in reversed(line):
        _lay_over(values, each.values, "", each.source, sources)
    return Merged(values, sources, tuple(each.name for each in line), tuple(each.source for each in line))


def _line(name: str, known: Mapping[str, ProfileFile]) -> list[ProfileFile]:
    """The profile first, what it extends at last behind it."""
    line = [known[name]]
    while (above := line[-1].extends) is not None:
        last = line[-1]
        if above in [each.name for each in line]:
            circle = " extends ".join([each.name for each in line] + [above])
            raise ProfileError.of_value(last.source, "extends", above, f"a circle: {circle}")
        if above not in known:
            reason = f"no such profile; known: {', '.join(sorted(known))}"
            raise ProfileError.of_value(last.source, "extends", above, reason)
        line.append(known[above])
    return line


def _lay_over(below: dict[str, Any], above: dict[str, Any], path: str, source: str, sources: Sources) -> None:
    for key, value in above.items():
        where = f"{path}.{key}" if path else key
        there = below.get(key)
        if isinstance(value, dict):
            if not isinstance(there, dict):
                _forget(where, sources)
                there = below[key] = {}
            _lay_over(there, value, where, source, sources)
            if not value and not there:
                sources[where] = source
        else:
            _forget(where, sources)
            below[key] = value
            sources[where] = source


def _forget(where: str, sources: Sources) -> None:
    for key in [key for key in sources if key == where or key.startswith(where + ".")]:
        del sources[key]


def leaves(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its key, tables walked through."""
    for key, value in values.items():
        where = f"{path}.{key}" if path else key
        if isinstance(value, dict) and value:
            yield from leaves(value, where)
        else:
            yield where, value
