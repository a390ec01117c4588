"""What a store can say no with."""

from metercast.domain.problem import Unavailable


class StoreUnavailable(Unavailable):
    """The call was not carried out and may be tried again: locked, full, or gone."""


class StoreInUse(Exception):
    """Another process has this data directory."""


class StoreTooNew(Exception):
    """The database was written by a newer Metercast, and this one can't read it."""
