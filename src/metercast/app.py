"""The composition root: the only place that knows every concrete class. Starts one server and ends it in order."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import structlog
import uvicorn
import uvloop

from metercast import logs
from metercast.commands.registry import COMMANDS
from metercast.config import Config
from metercast.databases import MissingLibrary, open_store
from metercast.domain.meter import StoredMeter
from metercast.driver.contract import Driver
from metercast.driver.counters import InvocationCounters
from metercast.driver.dlms import DlmsDriver
from metercast.driver.images import ImageShelf
from metercast.driver.keeper import SecretKeeper
from metercast.driver.timeouts import Timeouts
from metercast.driver.transport import TcpConnector
from metercast.engine.engine import Engine
from metercast.engine.limits import WorkerLimits
from metercast.engine.retention import RetentionPolicy
from metercast.engine.service import Service
from metercast.engine.submission import SubmissionRules
from metercast.engine.traces import Traces
from metercast.profiles.collection import Profiles
from metercast.profiles.errors import ProfileError
from metercast.store.contract import Store
from metercast.store.errors import StoreInUse, StoreTooNew, StoreUnavailable
from metercast.trace.directory import TraceDirectory
from metercast.vault import Vault, VaultError, create_master_key, parse_master_key, write_private
from metercast.web.app import create_app
from metercast.web.edge import Edge

log = structlog.get_logger()

DriverOf = Callable[[Config, Store], Driver]

_BACKLOG = 2048
_PAGES, _PAGE = 20, 1000  # of meters, looked at for one with secrets that tells whether the master key is theirs


class StartError(Exception):
    """The server can't start. The text is one line for the one who started it."""


class Metercast:
    """Everything that one process holds."""

    def __init__(
        self, config: Config, store: Store, vault: Vault, driver: Driver, profiles: Profiles, traces: Traces
    ) -> None:
        self.config = config
        self.store = store
        self.vault = vault
        limits = WorkerLimits(sessions=config.session_limit, lease_seconds=config.lease_seconds)
        retention = RetentionPolicy(keep_days=config.retention_days)
        self.engine = Engine(store, driver, COMMANDS, vault, _now, limits, retention)
        rules = SubmissionRules(
            max_devices=config.max_devices_per_task,
            max_devices_of={"DISCONNECT": config.max_devices_per_disconnect},
            retry=config.retry,
            bucket_size=config.bucket_size,
        )
        self.service = Service(store, COMMANDS, vault, self.engine, _now, rules, profiles, traces)
        self.draining = False

    @classmethod
    async def open(cls, config: Config, driver_of: DriverOf | None = None) -> Self:
        """Opens or creates what is in the data directory; the engine is not started yet. Raises StartError."""
        profiles = _load_profiles(config)
        _make_directory(config.data_dir)
        store = await _open_store(config)
        try:
            vault = await _open_vault(config, store)
            traces = Traces(_trace_directory(config), _now)
            driver = driver_of(config, store) if driver_of else dlms_driver(config, store, profiles, vault, traces)
            opened = cls(config, store, vault, driver, profiles, traces)
            await opened._ensure_admin()
        except BaseException:
            await store.close()
            raise
        return opened

    @property
    def admin_key_file(self) -> Path:
        return self.config.data_dir / "admin.key"

    def web(self) -> Edge:
        return create_app(self.service, self.config, self, self.engine.stats, COMMANDS)

    async def why_not_ready(self) -> list[str]:
        """See web.context.Health."""
        reasons = []
        if self.draining:
            reasons.append("shutting down")
        elif not self.engine.running:
            reasons.append("the engine does not run")
        try:
            await self.store.ping()
        except StoreUnavailable as error:
            reasons.append(error.detail)
        return reasons

    async def _ensure_admin(self) -> None:
        path = self.admin_key_file

        def save(token: str) -> None:
            path.unlink(missing_ok=True)  # the key of a database that is no more
            write_private(path, token + "\n")

        try:
            if await self.service.keys.ensure_admin(save):
                log.info("server.admin_key_written", path=str(path))
        except OSError as error:
            raise StartError(f"cannot write {path}: {error.strerror}") from None


def dlms_driver(config: Config, store: Store, profiles: Profiles, vault: Vault, traces: Traces) -> Driver:
    """The driver that speaks to meters over TCP."""
    timeouts = Timeouts(
        connect=config.connect_timeout_seconds,
        progress=config.progress_timeout_seconds,
        session=config.session_timeout_seconds,
    )
    counters = InvocationCounters(store)
    return DlmsDriver(
        TcpConnector(),
        counters,
        timeouts,
        require_identity=config.require_identity,
        profiles=profiles,
        images=ImageShelf(store),
        tracer=traces,
        keeper=SecretKeeper(store, vault),
    )


def run(config: Config, driver_of: DriverOf | None = None) -> int:
    """Serves until SIGTERM or SIGINT. The exit code: 0 after an orderly end, 1 where it could not start or had to
    hurry; what kept it from starting is one line on stderr."""
    logs.configure(config.log_level, config.log_format)
    os.umask(0o077)  # what it writes is for its own user
    try:
        return uvloop.run(serve(config, driver_of))
    except StartError as error:
        sys.stderr.write(f"metercast: {error}\n")
        return 1


async def serve(config: Config, driver_of: DriverOf | None = None) -> int:
    """See `run`. Says on stdout where it listens, once it does. Raises StartError."""
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: (hurry if stop.is_set() else stop).set())
    parts = await Metercast.open(config, driver_of)
    try:
        with listen(config) as (listener, url):
            server = http_server(config, parts.web())
            await parts.engine.start()
            _calm_collector()
            serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
            sys.stdout.write(f"Metercast listens on {url} (API reference: {url}/schema)\n")
            if not config.needs_keys:
                sys.stdout.write("Calls from this machine need no API key; ")
            sys.stdout.write(f"the admin key is in {parts.admin_key_file}\n")
            sys.stdout.flush()
            log.info("server.started", url=url, data_dir=str(config.data_dir))
            stopping = asyncio.create_task(stop.wait(), name="stop")
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            orderly = stop.is_set()
            code = await _end(parts, server, serving, hurry)
            return code if orderly else 1
    finally:
        await parts.store.close()


def _calm_collector() -> None:
    """Sessions free what they use by reference counts. The cyclic collector, at its defaults, walks all the others
    again and again to find nothing, and takes a seventh of the CPU for it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _end(parts: Metercast, server: uvicorn.Server, serving: asyncio.Task[None], hurry: asyncio.Event) -> int:
    """Not ready, accept nothing more, let sessions and answers end; at once where `hurry` is set."""
    parts.draining = True
    server.should_exit = True
    grace = parts.config.drain_grace_seconds
    log.info("server.stopping", grace_seconds=grace, sessions=parts.engine.stats.sessions_in_flight)
    # A tenth is left for what comes after: the last results, closing the store.
    draining = asyncio.create_task(parts.engine.drain(grace * 0.9), name="drain")
    hurried = asyncio.create_task(hurry.wait(), name="hurry")
    both = asyncio.gather(draining, serving, return_exceptions=True)
    either: set[asyncio.Future[Any]] = {both, hurried}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED, timeout=grace)
    hurried.cancel()
    if both.done():
        log.info("server.stopped")
        return 0
    server.force_exit = True
    both.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await both
    await parts.engine.drain(0)
    log.warning("server.stopped_in_a_hurry")
    return 1 if hurry.is_set() else 0


class _Server(uvicorn.Server):
    """Signals are ours."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def http_server(config: Config, web: Edge) -> uvicorn.Server:
    """Serves `web` on the sockets that its `serve` is given. Raises StartError."""
    try:
        prepared = uvicorn.Config(
            web,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            ssl_certfile=config.tls_certificate,
            ssl_keyfile=config.tls_key,
            timeout_graceful_shutdown=max(1, int(config.drain_grace_seconds * 0.8)),
        )
        prepared.load()
    except (ssl.SSLError, OSError) as error:
        raise StartError(f"cannot use the TLS files {config.tls_certificate} and {config.tls_key}: {error}") from None
    return _Server(prepared)


@contextlib.contextmanager
def listen(config: Config) -> Iterator[tuple[socket.socket, str]]:
    """The listening socket and its URL. Raises StartError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartError(f"cannot listen on {config.host}: {error.strerror}") from None
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError as error:
            raise StartError(f"cannot listen on {config.host} port {config.port}: {error.strerror}") from None
        listener.setblocking(False)
        host = f"[{config.host}]" if ":" in config.host else config.host
        yield listener, f"{config.scheme}://{host}:{listener.getsockname()[1]}"


def _load_profiles(config: Config) -> Profiles:
    try:
        return Profiles.load(config.profiles_dir)
    except ProfileError as error:
        raise StartError(f"a meter profile is wrong: {error}") from None


def _trace_directory(config: Config) -> TraceDirectory | None:
    if config.trace_dir is None:
        return None
    try:
        return TraceDirectory(config.trace_dir, config.trace_limit)
    except OSError as error:
        raise StartError(f"cannot use the trace directory {config.trace_dir}: {error.strerror}") from None


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"cannot make the data directory {path}: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise StartError(f"the data directory {path} can't be written")


async def _open_store(config: Config) -> Store:
    try:
        return await open_store(config.database, connections=config.database_connections)
    except (MissingLibrary, StoreInUse, StoreTooNew) as error:
        raise StartError(str(error)) from None
    except StoreUnavailable as error:
        raise StartError(error.detail) from None


async def _open_vault(config: Config, store: Store) -> Vault:
    sealed = await _a_sealed_meter(store)
    try:
        vault = Vault(_master_key(config, may_create=sealed is None))
        if sealed is not None:
            vault.open(sealed)
    except VaultError as error:
        raise StartError(str(error)) from None
    except OSError as error:
        raise StartError(f"cannot use {error.filename}: {error.strerror}") from None
    return vault


def _master_key(config: Config, *, may_create: bool) -> bytes:
    """From the environment, the file that is named, or the data directory, where a first start makes it."""
    if config.master_key is not None:
        return parse_master_key(config.master_key.encode(), "METERCAST_MASTER_KEY")
    if config.master_key_file is not None:
        return parse_master_key(config.master_key_file.read_bytes(), str(config.master_key_file))
    path = config.data_dir / "master.key"
    if path.exists():
        return parse_master_key(path.read_bytes(), str(path))
    if not may_create:
        raise VaultError(f"{path} is missing, and the database holds secrets that were sealed under it")
    log.info("server.master_key_written", path=str(path))
    return create_master_key(path)


async def _a_sealed_meter(store: Store) -> StoredMeter | None:
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await store.list_registered(None, _PAGE, cursor)
        found = next((meter for meter in page.items if meter.sealed is not None), None)
        cursor = page.next_cursor
        if found is not None or cursor is None:
            return found
    return None


def _now() -> datetime:
    return datetime.now(UTC)
