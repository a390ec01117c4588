"""Settings: one table, read from the environment and the command line, and held to docs/configuration.md."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from metercast.config import SETTINGS, Config, ConfigError
from metercast.domain.retry import RetryPolicy

MONGODB = "mongodb://a,b:27018/metercast?replicaSet=x"
DOCS = Path(__file__).parent.parent / "docs" / "configuration.md"


def test_defaults() -> None:
    config = Config.load({})
    assert config == Config()
    assert (config.host, config.port, config.session_limit, config.bucket_size) == ("127.0.0.1", 8080, 500, 500)
    assert config.database == "sqlite:///data/metercast.db"
    assert config.retention_days is None
    assert config.retry == RetryPolicy()
    assert config.body_limit == 64 * 1024 * 1024
    assert not config.needs_keys


@pytest.mark.parametrize(
    ("variable", "value", "name", "parsed"),
    [
        ("DATA_DIR", "/var/lib/metercast", "data_dir", Path("/var/lib/metercast")),
        ("PORT", "0", "port", 0),
        ("BODY_LIMIT", "1 MiB", "body_limit", 1 << 20),
        ("BODY_LIMIT", "4096", "body_limit", 4096),
        ("BUCKET_SIZE", "50", "bucket_size", 50),
        ("LEASE_SECONDS", "7.5", "lease_seconds", 7.5),
        ("REQUIRE_IDENTITY", "off", "require_identity", False),
        ("BEHIND_PROXY", "TRUE", "behind_proxy", True),
        ("LOG_FORMAT", "JSON", "log_format", "json"),
        ("DATABASE_URL", "sqlite:////var/x.db", "database", "sqlite:////var/x.db"),
        ("DATABASE_URL", "postgresql://m:s@db:5432/metercast", "database", "postgresql://m:s@db:5432/metercast"),
        ("DATABASE_URL", "mongodb://a,b:27018/metercast?replicaSet=x", "database_url", MONGODB),
        ("RETENTION_DAYS", "90", "retention_days", 90),
        ("PORT", "", "port", 8080),
    ],
)
def test_from_the_environment(variable: str, value: str, name: str, parsed: object) -> None:
    assert getattr(Config.load({f"METERCAST_{variable}": value}), name) == parsed


def test_arguments_go_before_the_environment() -> None:
    environ = {"METERCAST_PORT": "1", "METERCAST_HOST": "::1"}
    config = Config.load(environ, {"port": "2", "host": None})
    assert (config.port, config.host) == (2, "::1")


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("PORT", "http", "'http' is no whole number from 0 to 65535"),
        ("PORT", "65536", "'65536' is no whole number"),
        ("PORT", "-1", "'-1' is no whole number"),
        ("PORT", "9" * 5000, "is no whole number"),
        ("BUCKET_SIZE", "49", "from 50 to 5000"),
        ("SESSION_LIMIT", "0", "'0' is no whole number from 1"),
        ("LEASE_SECONDS", "1e9", "'1e9' is no number of seconds from 5 to 3600"),
        ("BODY_LIMIT", "64MB", "'64MB' is no size"),
        ("BEHIND_PROXY", "maybe", "'maybe' is neither true nor false"),
        ("LOG_LEVEL", "loud", "'loud' is none of debug, info, warning, error"),
        ("DATABASE_URL", "oracle://db/metercast", "names the database oracle; known: sqlite, postgresql, mongodb"),
        ("DATABASE_URL", "postgresql://db", "names no database"),
        ("DATABASE_URL", "mongodb://[db/metercast", "is no URL"),
        ("RETENTION_DAYS", "0", "'0' is no whole number from 1"),
        ("DATABASE_URL", "metercast.db", "is no URL"),
        ("DATABASE_URL", "sqlite://host/path", "is no path"),
        ("HOST", "   ", "is empty"),
        ("HOST", "0.0.0.0", "'0.0.0.0' is not a loopback address"),
        ("HOST", "meters.example", "is not a loopback address"),
        ("TLS_KEY", "/x", "belong together"),
        ("RETRY_MAX_DELAY_SECONDS", "1", "1 is below METERCAST_RETRY_INITIAL_DELAY_SECONDS (30)"),
    ],
)
def test_errors_name_variable_and_value(variable: str, value: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.load({f"METERCAST_{variable}": value})
    assert f"METERCAST_{variable}" in str(caught.value)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 400


def test_errors_of_arguments_name_the_option() -> None:
    with pytest.raises(ConfigError, match=r"^--bucket-size: '1' is no whole number"):
        Config.load({}, {"bucket_size": "1"})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hunter2@db",
        "postgresql://user:hunter2@db:port/metercast",
        "oracle://user:hunter2@db/metercast",
        "postgresql://user:slash/hunter2@db",
        "mongodb://user:at@hunter2@[db/metercast",
        "postgresql://db?password=hunter2",
    ],
)
def test_passwords_of_databases_are_in_no_error(url: str) -> None:
    for environ, arguments in (({"METERCAST_DATABASE_URL": url}, {}), ({}, {"database_url": url})):
        with pytest.raises(ConfigError) as caught:
            Config.load(environ, arguments)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["postgresql://user:hunter2@db/metercast", "mongodb://db/metercast?tlsCertificateKeyFilePassword=hunter2"]
)
def test_a_password_of_a_database_is_no_argument(url: str) -> None:
    with pytest.raises(ConfigError, match="--database-url: a password does not belong on a command line") as caught:
        Config.load({}, {"database_url": url})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(Config.load({"METERCAST_DATABASE_URL": url}))
    assert Config.load({}, {"database_url": "postgresql://user@db/metercast"}).database_url is not None


def test_secrets_are_in_no_representation() -> None:
    assert "hunter2" not in repr(Config.load({"METERCAST_MASTER_KEY": "hunter2"}))


def test_no_secret_is_an_option() -> None:
    assert [each.variable for each in SETTINGS if each.option is None] == ["METERCAST_MASTER_KEY"]


def test_files_of_tls_must_be_there(tmp_path: Path) -> None:
    files = {"METERCAST_TLS_CERTIFICATE": str(tmp_path / "c"), "METERCAST_TLS_KEY": str(tmp_path / "k")}
    with pytest.raises(ConfigError, match=r"METERCAST_TLS_CERTIFICATE: .* is no file"):
        Config.load(files)
    for name in ("c", "k"):
        (tmp_path / name).write_text("")
    config = Config.load({**files, "METERCAST_HOST": "0.0.0.0"})
    assert (config.needs_keys, config.scheme) == (True, "https")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_what_is_loopback(host: str, loopback: bool) -> None:
    config = Config(host=host, behind_proxy=not loopback)
    assert config.is_loopback is loopback
    assert config.needs_keys is not loopback


def test_a_proxy_on_this_machine_needs_keys_too() -> None:
    assert Config(behind_proxy=True).needs_keys


def test_the_table_names_every_setting() -> None:
    assert [each.name for each in SETTINGS] == [each.name for each in fields(Config)]
    assert all(each.help.endswith(".") for each in SETTINGS)


def _rows() -> dict[str, list[str]]:
    lines = re.findall(r"^\| `(METERCAST_\w+)` \|(.*)\|$", DOCS.read_text(), re.MULTILINE)
    return {variable: [cell.strip() for cell in rest.split(" | ")] for variable, rest in lines}


def test_the_docs_have_every_setting_and_no_other() -> None:
    rows = _rows()
    assert list(rows) == [each.variable for each in SETTINGS]
    for each in SETTINGS:
        option, default, text = rows[each.variable]
        assert option == (f"`{each.option}`" if each.option else "none: a secret")
        assert default.strip("`") == each.default.strip("`") or default == each.default, each.name
        assert text == each.help, each.name
