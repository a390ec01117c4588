"""All profiles that a server knows: those that come with it, and those of its own directory."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

from metercast.profiles.checking import checked
from metercast.profiles.errors import ProfileError, UnknownProfile
from metercast.profiles.files import ProfileFile, built_in_files, own_files
from metercast.profiles.inheritance import Merged, merge
from metercast.profiles.model import Profile


class Loaded(NamedTuple):
    """A profile, with what it was made of."""

    profile: Profile
    merged: Merged
    source: str


class Profiles:
    """By name. Every profile is checked when this is made."""

    def __init__(self, loaded: dict[str, Loaded]) -> None:
        self._loaded = loaded
        self._profiles = {name: each.profile for name, each in loaded.items()}

    @classmethod
    def load(cls, directory: Path | None = None) -> Self:
        """The built-in profiles and, where a directory is given, those of its files. Raises ProfileError."""
        known = {each.name: each for each in built_in_files()}
        if directory is not None:
            for each in own_files(directory):
                _add(known, each)
        return cls({name: _loaded(name, known) for name in sorted(known)})

    def __contains__(self, name: object) -> bool:
        return name in self._profiles

    def __iter__(self) -> Iterator[str]:
        """The names, in order."""
        return iter(self._loaded)

    def __len__(self) -> int:
        return len(self._loaded)

    def get(self, name: str) -> Profile:
        """Raises UnknownProfile, which lists the known ones."""
        try:
            return self._profiles[name]
        except KeyError:
            raise UnknownProfile(self.unknown()) from None

    def find(self, name: str) -> Loaded:
        """The same with what it was made of. Raises UnknownProfile."""
        if name not in self._loaded:
            raise UnknownProfile(self.unknown())
        return self._loaded[name]

    def unknown(self) -> str:
        """What to say of a name that is not known."""
        return f"no such profile; known: {', '.join(self)}"


def load_one(own: ProfileFile, directory: Path | None = None) -> Loaded:
    """What `own` would be beside the profiles of `directory`, in the place of one of its own name there.

    Raises ProfileError.
    """
    known = {each.name: each for each in built_in_files()}
    for each in own_files(directory) if directory is not None else ():
        if each.name != own.name:
            _add(known, each)
    _add(known, own)
    return _loaded(own.name, known)


def _add(known: dict[str, ProfileFile], own: ProfileFile) -> None:
    there = known.get(own.name)
    if there is not None:
        raise ProfileError(own.source, None, f"a profile {own.name} exists already: {there.source}")
    known[own.name] = own


def _loaded(name: str, known: dict[str, ProfileFile]) -> Loaded:
    merged = merge(name, known)
    return Loaded(checked(merged, known[name].source), merged, known[name].source)


BUILT_IN = Profiles.load()
