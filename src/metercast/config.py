"""Every setting of the server: one table for the command line, the environment and the docs."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, Self

from metercast.databases import DEFAULT_CONNECTIONS, check_url, has_password, without_password
from metercast.domain.retry import RetryPolicy

PREFIX = "METERCAST_"
Parse = Callable[[str], Any]


class ConfigError(Exception):
    """A setting is wrong: names the variable or option, and the value unless it is a secret."""


class Setting(NamedTuple):
    """One line of the table. `option` is None for what must not stand on a command line."""

    name: str
    option: str | None
    variable: str
    default: str
    help: str
    is_flag: bool


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty")
    return value


def _path(value: str) -> Path:
    return Path(_text(value)).expanduser()


def _flag(value: str) -> bool:
    lowered = value.strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise ValueError("is neither true nor false")


def _whole(low: int, high: int) -> Parse:
    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", value.strip()) or not low <= int(value) <= high:
            raise ValueError(f"is no whole number from {low} to {high}")
        return int(value)

    return parse


def _seconds(low: float, high: float) -> Parse:
    def parse(value: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", value.strip()) or not low <= float(value) <= high:
            raise ValueError(f"is no number of seconds from {low:g} to {high:g}")
        return float(value)

    return parse


def _octets(low: int, high: int) -> Parse:
    units = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

    def parse(value: str) -> int:
        match = re.fullmatch(r"([0-9]{1,12}) ?(|KiB|MiB|GiB)", value.strip())
        size = int(match[1]) * units[match[2]] if match else -1
        if not low <= size <= high:
            raise ValueError(f"is no size from {low} to {high} octets, written as in 65536, 64KiB or 64MiB")
        return size

    return parse


def _choice(*choices: str) -> Parse:
    def parse(value: str) -> str:
        if value.strip().lower() not in choices:
            raise ValueError(f"is none of {', '.join(choices)}")
        return value.strip().lower()

    return parse


def _setting(  # makes a dataclass field, which ruff's RUF009 can't know
    default: Any,
    parse: Parse,
    text: str,
    *,
    shown: str | None = None,
    secret: bool = False,
    hidden: bool = False,
    flag: bool = False,
) -> Any:
    """`secret`: no option, and its value is never repeated. `hidden`: a value that may hold a secret."""
    about = {"parse": parse, "help": text, "shown": shown, "secret": secret, "flag": flag}
    return field(default=default, metadata=about, repr=not (secret or hidden))


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings, parsed. `load` is the way in from strings; `check` looks at what goes together."""

    data_dir: Path = _setting(Path("data"), _path, "Directory of the database, the keys and the lock.")  # noqa: RUF009
    host: str = _setting("127.0.0.1", _text, "Address to listen on.")
    port: int = _setting(8080, _whole(0, 65535), "Port to listen on; 0 takes a free one.")
    database_url: str | None = _setting(
        None,
        check_url,
        "Where the store is: `sqlite:///` and a path, `postgresql://user@host/database` or "
        "`mongodb://user@host/database`. A URL with a password goes into the variable only.",
        shown="`sqlite:///` and `metercast.db` in the data directory",
        hidden=True,
    )
    database_connections: int = _setting(
        DEFAULT_CONNECTIONS, _whole(2, 200), "Connections to PostgreSQL or MongoDB at a time."
    )
    retention_days: int | None = _setting(
        None,
        _whole(1, 36500),
        "Tasks that ended longer ago are deleted, with all that is kept of their devices.",
        shown="none: nothing is deleted",
    )
    tls_certificate: Path | None = _setting(None, _path, "PEM file of the certificate (chain); serves https.")  # noqa: RUF009
    tls_key: Path | None = _setting(None, _path, "PEM file of the certificate's private key.")  # noqa: RUF009
    behind_proxy: bool = _setting(
        False,
        _flag,
        "A proxy in front does TLS: allows plain http on any address, and asks for an API key on every address.",
        flag=True,
    )
    master_key_file: Path | None = _setting(  # noqa: RUF009
        None,
        _path,
        "File of the key that seals the meters' secrets: 32 octets as hex, base64 or raw.",
        shown="`master.key` in the data directory, made on the first start",
    )
    master_key: str | None = _setting(
        None, _text, "The same key itself, hex or base64. Goes before any file.", secret=True
    )
    session_limit: int = _setting(500, _whole(1, 20000), "Sessions with meters at a time.")
    bucket_size: int = _setting(500, _whole(50, 5000), "Devices of a task that are offered and leased together.")
    lease_seconds: float = _setting(30.0, _seconds(5, 3600), "How long a worker holds a bucket without renewing.")
    drain_grace_seconds: float = _setting(
        30.0, _seconds(1, 3600), "How long sessions may take to end after SIGTERM or SIGINT."
    )
    body_limit: int = _setting(
        64 << 20, _octets(1 << 10, 1 << 30), "Largest request body of a task or an import.", shown="64MiB"
    )
    stream_limit: int = _setting(
        512 << 20, _octets(1 << 10, 1 << 40), "Largest request body of a task that comes as lines.", shown="512MiB"
    )
    image_limit: int = _setting(32 << 20, _octets(1 << 10, 1 << 30), "Largest firmware image.", shown="32MiB")
    max_devices_per_task: int = _setting(1_000_000, _whole(1, 10_000_000), "Most devices of one task.")
    max_devices_per_disconnect: int = _setting(1000, _whole(1, 10_000_000), "Most devices of one DISCONNECT task.")
    max_devices_per_import: int = _setting(100_000, _whole(1, 10_000_000), "Most meters of one import.")
    require_identity: bool = _setting(
        True, _flag, "DISCONNECT and RECONNECT only on meters whose record names an identity, which is checked first."
    )
    profiles_dir: Path | None = _setting(  # noqa: RUF009
        None, _path, "Directory of your own meter profiles: TOML files, read at the start.", shown="none"
    )
    trace_dir: Path | None = _setting(  # noqa: RUF009
        None,
        _path,
        "Directory for traces of sessions (`metercast traces`), each a log and a pcap without secrets.",
        shown="none: nothing is traced",
    )
    trace_limit: int = _setting(
        256 << 20,
        _octets(1 << 20, 1 << 40),
        "Most octets of all traces together, the oldest go first; one session takes an eighth at most.",
        shown="256MiB",
    )
    connect_timeout_seconds: float = _setting(10.0, _seconds(0.1, 600), "How long a meter may take to accept.")
    progress_timeout_seconds: float = _setting(
        120.0, _seconds(0.1, 3600), "The longest silence of a meter while an answer is awaited."
    )
    session_timeout_seconds: float = _setting(600.0, _seconds(1, 86400), "The longest session with a meter.")
    retry_max_attempts: int = _setting(
        3, _whole(1, 100), "Attempts on a device where the task names no `retry.maxAttempts`."
    )
    retry_initial_delay_seconds: float = _setting(
        30.0, _seconds(0.001, 86400), "The delay before the second attempt; it doubles with each further one."
    )
    retry_max_delay_seconds: float = _setting(3600.0, _seconds(0.001, 86400), "The longest delay between attempts.")
    log_level: str = _setting("info", _choice("debug", "info", "warning", "error"), "The least level that is logged.")
    log_format: str = _setting("console", _choice("console", "json"), "Log lines for people, or one JSON object each.")

    @classmethod
    def load(cls, environ: Mapping[str, str], arguments: Mapping[str, str | None] | None = None) -> Self:
        """From `METERCAST_...` variables; `arguments` (text by setting name, None: not given) go before them.

        An empty variable counts as not given. Raises ConfigError.
        """
        values: dict[str, Any] = {}
        for each in fields(cls):
            argument = (arguments or {}).get(each.name)
            variable = PREFIX + each.name.upper()
            text, source = (argument, _option(each.name)) if argument is not None else (environ.get(variable), variable)
            if text is None or (argument is None and not text):
                continue
            try:
                values[each.name] = each.metadata["parse"](text)
            except ValueError as error:
                received = "its value" if each.metadata["secret"] else repr(without_password(text)[:100])
                raise ConfigError(f"{source}: {received} {error}") from None
            if argument is not None and each.name == "database_url" and has_password(text):
                raise ConfigError(f"{source}: a password does not belong on a command line: use {variable}")
        return cls(**values).check()

    def check(self) -> Self:
        """Itself; ConfigError where settings do not go together."""
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigError("METERCAST_TLS_CERTIFICATE and METERCAST_TLS_KEY belong together: one is missing")
        for name, path in (("METERCAST_TLS_CERTIFICATE", self.tls_certificate), ("METERCAST_TLS_KEY", self.tls_key)):
            if path is not None and not path.is_file():
                raise ConfigError(f"{name}: '{path}' is no file")
        if not (self.is_loopback or self.behind_proxy or self.tls_certificate):
            raise ConfigError(
                f"METERCAST_HOST: '{self.host}' is not a loopback address: give METERCAST_TLS_CERTIFICATE and "
                "METERCAST_TLS_KEY, or set METERCAST_BEHIND_PROXY where a proxy does TLS"
            )
        if self.retry_max_delay_seconds < self.retry_initial_delay_seconds:
            raise ConfigError(
                f"METERCAST_RETRY_MAX_DELAY_SECONDS: {self.retry_max_delay_seconds:g} is below "
                f"METERCAST_RETRY_INITIAL_DELAY_SECONDS ({self.retry_initial_delay_seconds:g})"
            )
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def needs_keys(self) -> bool:
        """Whether every call needs an API key; on loopback without a proxy a call without one is the local admin's."""
        return self.behind_proxy or not self.is_loopback

    @property
    def scheme(self) -> str:
        return "https" if self.tls_certificate else "http"

    @property
    def database(self) -> str:
        """The URL of the store."""
        return self.database_url or f"sqlite:///{self.data_dir / 'metercast.db'}"

    @property
    def retry(self) -> RetryPolicy:
        """The policy of tasks that name none."""
        return RetryPolicy(self.retry_max_attempts, self.retry_initial_delay_seconds, self.retry_max_delay_seconds)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _shown_default(default: Any, shown: str | None) -> str:
    if shown is not None:
        return shown
    if default is None:
        return "none"
    if isinstance(default, bool):
        return "true" if default else "false"
    return f"{default:g}" if isinstance(default, float) else str(default)


def _settings() -> tuple[Setting, ...]:
    return tuple(
        Setting(
            each.name,
            None if each.metadata["secret"] else _option(each.name),
            PREFIX + each.name.upper(),
            _shown_default(each.default, each.metadata["shown"]),
            each.metadata["help"],
            each.metadata["flag"],
        )
        for each in fields(Config)
    )


SETTINGS: tuple[Setting, ...] = _settings()
