"""The ranges of positions that buckets are."""

from collections.abc import Iterator


def bucket_ranges(first: int, count: int, size: int) -> Iterator[tuple[int, int]]:
    """The first and last of each bucket of `count` positions from `first` on."""
    for start in range(first, first + count, size):
        yield start, min(start + size, first + count) - 1


def whole_buckets(devices: int, bucket_size: int) -> int:
    """About `devices`, and a whole number of buckets."""
    return max(devices // bucket_size, 1) * bucket_size
