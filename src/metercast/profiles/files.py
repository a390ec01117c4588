"""Profiles as they stand in files: one TOML file each, its name the profile's."""

import re
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final, NamedTuple

from metercast.domain.problem import shown
from metercast.profiles.errors import ProfileError
from metercast.profiles.model import GENERIC, NAME_PATTERN

SUFFIX: Final = ".toml"
MAX_OCTETS: Final = 1 << 20
MAX_FILES: Final = 1000
_NAME: Final = re.compile(NAME_PATTERN)


class ProfileFile(NamedTuple):
    """One file, not yet checked but for what says whom it extends."""

    name: str
    source: str
    extends: str | None  # None in generic only
    values: dict[str, Any]


def built_in_files() -> Iterator[ProfileFile]:
    """Those that come with Metercast."""
    for entry in sorted(files("metercast.profiles").iterdir(), key=lambda each: each.name):
        if entry.name.endswith(SUFFIX):
            yield read_file(entry, entry.name)


def own_files(directory: Path) -> Iterator[ProfileFile]:
    """Those of a directory, in the order of names; other files and directories in it are passed over."""
    try:
        found = sorted(each for each in directory.iterdir() if each.suffix.lower() == SUFFIX)
    except OSError as error:
        raise ProfileError(str(directory), None, f"cannot be read: {error.strerror}") from None
    if len(found) > MAX_FILES:
        raise ProfileError(str(directory), None, f"holds {len(found)} profiles, more than {MAX_FILES}")
    for path in found:
        yield read_file(path, str(path))


def read_file(path: Path | Traversable, source: str) -> ProfileFile:
    """Raises ProfileError that names `source`."""
    try:
        with path.open("rb") as stream:
            octets = stream.read(MAX_OCTETS + 1)
    except OSError as error:
        raise ProfileError(source, None, f"cannot be read: {error.strerror}") from None
    if len(octets) > MAX_OCTETS:
        raise ProfileError(source, None, f"more than {MAX_OCTETS} octets")
    try:
        text = octets.decode()
    except UnicodeDecodeError as error:
        raise ProfileError(source, None, f"not UTF-8: {error.reason} at octet {error.start}") from None
    return parse_text(text, path.name.removesuffix(SUFFIX), source)


def parse_text(text: str, name: str, source: str) -> ProfileFile:
    """Raises ProfileError where it is no TOML, its name none of a profile, or it does not say whom it extends."""
    if not _NAME.fullmatch(name):
        reason = f"a profile's name is made of a-z, 0-9, - and _, at most 64; received {shown(name)}"
        raise ProfileError(source, None, reason)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(source, None, f"no TOML: {error}") from None
    except RecursionError:
        raise ProfileError(source, None, "no TOML: nested too deep") from None
    extends = values.pop("extends", None)
    if name == GENERIC:
        if extends is not None:
            raise ProfileError.of_value(source, "extends", extends, "generic extends nothing")
    elif extends is None:
        raise ProfileError(source, "extends", f'required, and missing; write extends = "{GENERIC}"')
    elif not isinstance(extends, str):
        raise ProfileError.of_value(source, "extends", extends, "the name of a profile is expected")
    if "name" in values:
        raise ProfileError.of_value(source, "name", values["name"], "unknown field: the file's name is the profile's")
    return ProfileFile(name, source, extends, values)
