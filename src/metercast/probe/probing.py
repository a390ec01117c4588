"""A whole probe: the line, the public client, and the association that credentials were given for."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec

from metercast.dlms.acse import Aare, AssociationResult, Rlrq
from metercast.dlms.conformance import names
from metercast.dlms.errors import DecodeError, DlmsError
from metercast.dlms.events import Associated, Rejected
from metercast.dlms.initiate import decode_initiate_response
from metercast.dlms.protection import NO_COUNTERS, Counters
from metercast.dlms.settings import AssociationSettings
from metercast.domain.meter import Connection, Framing, Hdlc
from metercast.driver.errors import TransportError
from metercast.driver.failures import connect_failure
from metercast.driver.links import link_to
from metercast.driver.transport import Connector
from metercast.driver.words import rejection_text
from metercast.probe.association import NotOpened, ProbeAssociation, decoded_answer
from metercast.probe.draft import draft_of
from metercast.probe.framing import FramingSearch, Heard, public_aarq
from metercast.probe.line import Line, Trace, connect
from metercast.probe.reading import Reading
from metercast.probe.report import AssociationFacts, IdentityFacts, LineFacts, Report, SecurityFacts
from metercast.probe.settings import Credentials, ProbeSettings
from metercast.profiles.collection import BUILT_IN
from metercast.profiles.model import GENERIC

MAX_COUNTER: Final = 0xFFFFFFFF
_COUNTERS_OF_A_PROBE: Final = 10_000


class NotReached(Exception):
    """Nothing could be connected to; the text says where and why."""


class Probe:
    """`now` is the true time, in UTC."""

    def __init__(
        self,
        settings: ProbeSettings,
        connector: Connector,
        now: Callable[[], datetime],
        credentials: Credentials | None = None,
        trace: Trace | None = None,
    ) -> None:
        self._settings = settings
        self._connector = connector
        self._now = now
        self._credentials = credentials
        self._trace = trace
        self._report = Report(
            target=f"{settings.host}:{settings.port}",
            probed_at=now().isoformat(timespec="seconds").replace("+00:00", "Z"),
            line=LineFacts(),
            public=AssociationFacts(client_sap=settings.client_sap),
            identity=IdentityFacts(),
            security=SecurityFacts(),
        )
        self._connection = Connection(host=settings.host, port=settings.port)
        self._server_sap = settings.servers[0]

    async def run(self) -> Report:
        """What was found out until the time was over. Raises NotReached."""
        report = self._report
        try:
            async with asyncio.timeout(self._settings.longest):
                await self._run()
        except TimeoutError:
            report.notes.append(f"given up after {self._settings.longest:g} s; this is what was found until then")
        report.draft = draft_of(report, self._settings, self._credentials)
        return report

    async def _run(self) -> None:
        search = FramingSearch(self._settings, self._connector, self._trace)
        try:
            heard = await search.find()
        except (OSError, ValueError) as error:
            if search.notes:
                self._report.notes += [*search.notes, f"the next connection: {self._reason(error)}"]
                return
            raise NotReached(self._reason(error)) from error
        self._report.notes += search.notes
        if heard is None:
            return
        self._learn(heard)
        try:
            if heard.framing is Framing.HDLC and heard.parameters is not None:
                await self._ask_over_hdlc()
            if self._report.public.is_open:
                await self._read_as_public()
            if self._credentials is not None:
                await self._read_with_credentials(self._credentials)
        except (OSError, ValueError) as error:
            self._report.notes.append(f"no further connection could be opened: {self._reason(error)}")

    def _learn(self, heard: Heard) -> None:
        line = self._report.line
        line.framing, line.server_sap = heard.framing.value, heard.server_sap
        self._server_sap = heard.server_sap
        self._report.is_meter = True
        hdlc = None
        if heard.address is not None:
            line.address_size, line.physical_device = heard.address.size, heard.address.lower
            hdlc = Hdlc(
                address_size=heard.address.size,  # type: ignore[arg-type]
                physical_device=heard.address.lower,
            )
        if heard.parameters is not None:
            line.transmit_size, line.receive_size = heard.parameters.transmit_size, heard.parameters.receive_size
            line.transmit_window, line.receive_window = heard.parameters[2:]
        self._connection = Connection(
            host=self._settings.host, port=self._settings.port, framing=heard.framing, hdlc=hdlc
        )
        if heard.framing is Framing.WRAPPER:
            self._report.public.released = heard.releases
            self._judge(heard.answer)

    def _judge(self, answer: bytes | None) -> None:
        """What the answer to the public client's AARQ says."""
        public = self._report.public
        aare = decoded_answer(answer)
        if isinstance(aare, str):
            public.answer = aare
            return
        title = aare.responding_ap_title
        if title is not None and len(title) == 8:
            public.system_title = self._report.identity.system_title = title.hex().upper()
        if aare.result != AssociationResult.ACCEPTED:
            public.answer = rejection_text(Rejected(aare.result, aare.diagnostic_source, aare.diagnostic))
            return
        public.answer = "accepted"
        self._offered(public, aare)

    def _offered(self, public: AssociationFacts, aare: Aare) -> None:
        try:
            response = decode_initiate_response(aare.user_information or b"\0")
        except DecodeError as error:
            self._report.notes.append(f"client {public.client_sap}: {error}")
            return
        public.conformance = names(response.conformance)
        public.max_pdu_size = response.server_max_receive_pdu_size

    async def _ask_over_hdlc(self) -> None:
        """The AARQ that the wrapper's search sends by itself."""
        settings = AssociationSettings(client_sap=self._settings.client_sap, server_sap=self._server_sap)
        line = await self._line(settings)
        try:
            await line.open()
            self._judge(await line.exchange(public_aarq()))
            if self._report.public.is_open:
                self._report.public.released = await _is_released(line)
        except (DlmsError, TransportError) as error:
            self._report.public.answer = str(error)
        finally:
            await line.close()

    async def _read_as_public(self) -> None:
        settings = AssociationSettings(client_sap=self._settings.client_sap, server_sap=self._server_sap)
        await self._read(settings, self._report.public, NO_COUNTERS)

    async def _read_with_credentials(self, credentials: Credentials) -> None:
        """Once, and not at all where the invocation counter isn't known: nothing is guessed."""
        settings = msgspec.structs.replace(credentials.settings, server_sap=self._server_sap)
        facts = AssociationFacts(
            client_sap=settings.client_sap,
            authentication=settings.authentication.value,
            protection=settings.protection.value,
        )
        self._report.management = facts
        counters: Counters = NO_COUNTERS
        if settings.needs_keys:
            first = credentials.next_counter
            known = self._report.security.invocation_counters
            if first is None and known:
                first = max(known.values()) + 1
            if first is None:
                facts.answer = "not asked: the invocation counter can't be read and none was given"
                return
            if first + _COUNTERS_OF_A_PROBE > MAX_COUNTER:
                facts.answer = f"not asked: the invocation counter is at {first}, the key must be changed"
                return
            counters = iter(range(first, first + _COUNTERS_OF_A_PROBE))
        await self._read(settings, facts, counters)

    async def _read(self, settings: AssociationSettings, facts: AssociationFacts, counters: Counters) -> None:
        line = await self._line(settings)
        try:
            await line.open()
            association = ProbeAssociation(line, settings, counters)
            self._opened(facts, await association.open())
            await Reading(association, settings.client_sap, self._report, self._now).everything()
            released = await association.release()
            facts.released = facts.released if released is None else released
        except NotOpened as refusal:
            if facts.is_open:  # it was accepted a moment ago
                self._report.notes.append(f"client {settings.client_sap}, asked again: {refusal}")
            else:
                facts.answer = str(refusal)
        except (DlmsError, TransportError) as error:
            self._report.notes.append(f"client {settings.client_sap}: {error}")
        finally:
            await line.close()

    def _opened(self, facts: AssociationFacts, opened: Associated) -> None:
        facts.answer = "accepted"
        if not facts.conformance:
            facts.conformance = names(opened.conformance)
            facts.max_pdu_size = opened.server_max_receive_pdu_size
        if opened.server_system_title is not None:
            facts.system_title = self._report.identity.system_title = opened.server_system_title.hex().upper()

    def _reason(self, error: OSError | ValueError) -> str:
        return connect_failure(error, self._report.target).detail

    async def _line(self, settings: AssociationSettings) -> Line:
        """A connection of its own, after the pause."""
        await asyncio.sleep(self._settings.delay)
        delays = BUILT_IN.get(GENERIC).delays
        link, _ = link_to(self._connection, settings, delays)
        transport = await connect(self._connector, self._connection, self._settings.timeout)
        if self._trace is not None:
            twin, _ = link_to(self._connection, settings, delays)
            transport, link = self._trace.listen(transport, link, twin, settings)
        return Line(transport, link, self._settings.timeout)


async def _is_released(line: Line) -> bool:
    try:
        return (await line.exchange(Rlrq(0).encode()))[:1] == b"\x63"
    except (DlmsError, TransportError):
        return False
