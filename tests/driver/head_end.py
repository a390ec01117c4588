"""A head end that forgets everything but its store: each command has a driver of its own, as after a restart."""

from collections.abc import Callable
from typing import Any

import msgspec
from tests.driver.support import ScriptedCheckpoint, execute, meter_of
from tests.driver.transports import Tampered

from metercast.domain.meter import AssociationSecrets, Meter, password_octets
from metercast.domain.outcome import Outcome
from metercast.domain.replacement import SecretKind
from metercast.driver.counters import InvocationCounters
from metercast.driver.dlms import DlmsDriver
from metercast.driver.errors import PeerClosed
from metercast.driver.keeper import SecretKeeper
from metercast.driver.timeouts import Timeouts
from metercast.driver.transport import Connector, TcpConnector
from metercast.simulator.keys import fingerprint
from metercast.simulator.log import AssociationAnswered
from metercast.simulator.simulator import Simulator
from metercast.store.contract import Store
from metercast.store.devices import MeterWrite
from metercast.vault import Vault

HELD = [kind for kind in SecretKind if kind is not SecretKind.SIGNING_KEY]  # by the meter too
PATIENT = Timeouts(connect=10.0, progress=20.0, session=60.0, release=10.0)


class HeadEnd:
    """For the one meter of a simulator."""

    def __init__(self, store: Store, simulator: Simulator) -> None:
        self.store = store
        self.vault = Vault(b"\x07" * 32)
        (document,) = simulator.device_records()
        self.document = document
        self.simulated = simulator.meter(document["deviceId"])
        self.simulator = simulator
        self.seen: set[str] = set()  # every secret that there ever was

    async def register(self, **management: str | None) -> None:
        self.document["associations"]["management"] |= management
        meter = meter_of(self.document)
        sealed = self.vault.seal(meter.device_id, meter.secrets)
        document = msgspec.json.encode(meter.record)
        await self.store.put_devices([MeterWrite(meter.device_id, document, sealed, "channel", 1)])
        await self.meter()

    async def meter(self) -> Meter:
        meter = self.vault.open(await self.store.get_device(self.simulated.meter_id))
        for secrets in meter.secrets.values():
            for kind in SecretKind:
                self.seen |= {each for each in (secrets.value(kind), secrets.replacement(kind).pending) if each}
        return meter

    async def secrets(self) -> AssociationSecrets:
        return (await self.meter()).secrets_of("management")

    async def run(
        self,
        name: str,
        raw: dict[str, Any] | None = None,
        *,
        connector: Connector | None = None,
        by: DlmsDriver | None = None,
        checkpoint: ScriptedCheckpoint | None = None,
        **options: Any,
    ) -> Outcome:
        """One session; `options` are those of its checkpoint."""
        driven = by or self.driver(connector)
        meter = await self.meter()
        outcome = await execute(meter, name, raw, by=driven, checkpoint=checkpoint or ScriptedCheckpoint(**options))
        await self.meter()
        return outcome

    def driver(self, connector: Connector | None = None) -> DlmsDriver:
        keeper = SecretKeeper(self.store, self.vault)
        return DlmsDriver(connector or TcpConnector(), InvocationCounters(self.store), PATIENT, keeper=keeper)

    async def lost_to(self) -> list[SecretKind]:
        """The secrets of the meter that are stored nowhere: the one thing that must never be."""
        secrets, held = await self.secrets(), self.simulated.state.keys.fingerprints()
        lost: list[SecretKind] = []
        for kind in HELD:
            stored = {each for each in (secrets.value(kind), secrets.replacement(kind).pending) if each is not None}
            known = {fingerprint(_octets(kind, each)) for each in stored}
            if held[kind.value] is not None and held[kind.value] not in known:
                lost.append(kind)
        return lost

    async def is_settled(self) -> bool:
        """What the meter holds is current, and nothing is pending."""
        secrets, held = await self.secrets(), self.simulated.state.keys.fingerprints()
        current = {kind: secrets.value(kind) for kind in HELD}
        told = {k.value: None if each is None else fingerprint(_octets(k, each)) for k, each in current.items()}
        return secrets.pending == [] and told == held

    def refusals(self) -> list[int]:
        """How many associations of the management client the meter refused in a row, each time."""
        runs, run = [], 0
        for event in self.simulator.events:
            if isinstance(event, AssociationAnswered) and event.client_sap == 1:
                run = run + 1 if event.result else 0
                runs.append(run)
        return runs


def losing(number: int, connector: Connector | None = None) -> Tampered:
    """Answer `number`, from 1, is lost with its connection, after the meter did what was asked."""

    def change(data: bytes, count: int) -> bytes:
        if count == number:
            raise PeerClosed("the answer was lost")
        return data

    return Tampered(connector or TcpConnector(), change)


def cut_after(sends: int) -> Callable[[int], bool]:
    """For ScriptedCheckpoint.sends_left: nothing happens any more, neither on the wire nor in the store."""
    return lambda count: count <= sends


def _octets(kind: SecretKind, secret: str) -> bytes:
    return (password_octets(secret) or b"") if kind is SecretKind.PASSWORD else bytes.fromhex(secret)
