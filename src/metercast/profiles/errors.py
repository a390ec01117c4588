"""What is wrong with a profile: one line that names the file, the field and the value."""

from typing import Any

from metercast.domain.problem import shown


class ProfileError(Exception):
    """`source` is the file, `field` its key with dots (None: the file as a whole)."""

    def __init__(self, source: str, field: str | None, reason: str) -> None:
        super().__init__(f"{source}: {reason}" if field is None else f"{source}: {field}: {reason}")
        self.source = source
        self.field = field
        self.reason = reason

    @classmethod
    def of_value(cls, source: str, field: str, value: Any, reason: str) -> "ProfileError":
        return cls(source, field, f"{reason}; received {shown(value)}")


class UnknownProfile(Exception):
    """No profile of that name is loaded."""
