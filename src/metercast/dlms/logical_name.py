"""Logical names: OBIS codes A.B.C.D.E.F in six octets (catalogue 0)."""

import re
from functools import lru_cache
from typing import Self

from metercast.dlms.errors import DecodeError, EncodeError

_TEXT = re.compile(r"(\d{1,3})[.-](\d{1,3})[.:](\d{1,3})\.(\d{1,3})\.(\d{1,3})[.*](\d{1,3})", re.ASCII)


class LogicalName(bytes):
    """Six octets that know how they are written."""

    __slots__ = ()

    def __new__(cls, octets: bytes) -> Self:
        if len(octets) != 6:
            raise DecodeError(f"a logical name has 6 octets, not {len(octets)}")
        return super().__new__(cls, octets)

    @classmethod
    @lru_cache(maxsize=1024)
    def parse(cls, text: str) -> Self:
        """From "0.0.13.0.0.255" or "0-0:13.0.0*255"; EncodeError where it is neither."""
        match = _TEXT.fullmatch(text)
        groups = [int(group) for group in match.groups()] if match else []
        if not match or max(groups) > 255:
            raise EncodeError(f"not a logical name: {text[:40]!r}; write 0.0.13.0.0.255")
        return cls(bytes(groups))

    def __str__(self) -> str:
        return ".".join(map(str, self))

    def __repr__(self) -> str:
        return f"LogicalName({str(self)!r})"
