"""A firmware image, and how far it came into a meter."""

from typing import NamedTuple


class FirmwareImage(NamedTuple):
    """The octets as the maker gave them; `sha256` in lower-case hex."""

    name: str
    sha256: str
    octets: bytes

    def __repr__(self) -> str:
        return f"FirmwareImage({self.name!r}, {len(self.octets)} octets)"


class Transferred(NamedTuple):
    """Which image a meter was last told to take, and how many of its `total` blocks it is known to have.

    `total` is 0 from before the meter is told until it is known to have taken it up: it may still hold another one.
    """

    sha256: str
    blocks: int = 0
    total: int = 0
