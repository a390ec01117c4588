"""The store on PostgreSQL: a pool of connections, and one round trip for a batch of work."""

from metercast.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
