"""What is wrong with a profile: one line that names the file, the field and the value."""

from typing import Any

from metercast.domain.problem import shown


class ProfileError(Exception):
    """`source` is the file, `field` its key with dots (None: the file as a whole). The text is one printable line."""

    def __init__(self, source: str, field: str | None, reason: str) -> None:
        text = f"{source}: {reason}" if field is None else f"{source}: {shown(field)}: {reason}"
        super().__init__("".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text))
        self.source = source
        self.field = field
        self.reason = reason

    @classmethod
    def of_value(cls, source: str, field: str, value: Any, reason: str) -> "ProfileError":
        return cls(source, field, f"{reason}; received {shown(value)}")


class UnknownProfile(Exception):
    """No profile of that name is loaded."""
