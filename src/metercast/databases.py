"""Databases by their URL: which store a URL names, and how it is opened. A store's library is imported only for it."""

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from metercast.store.contract import Store

SQLITE = "sqlite"
POSTGRES = ("postgresql", "postgres")
MONGODB = ("mongodb", "mongodb+srv")

DEFAULT_CONNECTIONS = 8


class MissingLibrary(Exception):
    """The database's client library is not installed. The text says how to install it."""


def check_url(url: str) -> str:
    """Itself; ValueError, which goes on from the URL as a sentence, where no store can be opened with it."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ValueError("is no URL; write it as in sqlite:///metercast.db or postgresql://user@host/metercast")
    if scheme == SQLITE:
        if not rest.startswith("/") or len(rest) < 2 or "?" in rest:
            raise ValueError("is no path: write sqlite:///relative.db or sqlite:////absolute/path.db")
        return url
    if scheme not in (*POSTGRES, *MONGODB):
        raise ValueError(f"names the database {scheme[:40]}; known: sqlite, postgresql, mongodb")
    try:
        parts = urlsplit(_one_host(url))
        database, _ = parts.path.removeprefix("/"), parts.port
    except ValueError:
        raise ValueError("is no URL: look at its host, port and brackets") from None
    if "@" in database:
        raise ValueError("is no URL: a / in user or password is written %2F")
    if not database or "/" in database:
        raise ValueError(f"names no database: write {scheme}://user@host/metercast")
    return url


def has_password(url: str) -> bool:
    """Whether it holds a secret, which belongs into the environment and not on a command line."""
    if url.startswith(f"{SQLITE}://"):
        return False
    secret = any("password" in name.lower() for name, _ in parse_qsl(url.partition("?")[2]))
    return secret or bool(re.search(r"//.*:.*@", url))


def without_password(url: str) -> str:
    """For people: no user, no password, no options."""
    return re.sub(r"//.*@", "//", url).partition("?")[0]


def sqlite_path(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


async def open_store(url: str, *, connections: int = DEFAULT_CONNECTIONS) -> Store:
    """The store, made or migrated where needed, for this process alone.

    Raises StoreInUse, StoreTooNew, StoreUnavailable, and MissingLibrary.
    """
    scheme = check_url(url).partition("://")[0]
    try:
        if scheme in POSTGRES:
            from metercast.store.postgres import PostgresStore

            return await PostgresStore.open(url, connections=connections)
        if scheme in MONGODB:
            from metercast.store.mongo import MongoStore

            return await MongoStore.open(url, connections=connections)
    except ModuleNotFoundError as error:
        extra = "postgres" if scheme in POSTGRES else "mongodb"
        if error.name not in ("asyncpg", "pymongo", "bson"):
            raise
        raise MissingLibrary(f"{error.name} is not installed: pip install 'metercast[{extra}]'") from None
    from metercast.store.sqlite import SqliteStore

    return await SqliteStore.open(sqlite_path(url))


def _one_host(url: str) -> str:
    """Both databases take several hosts, which urlsplit does not: the first stands for them."""
    return re.sub(r"^([^/]*//(?:[^/@]*@)?[^/,]*),[^/]*", r"\1", url)
