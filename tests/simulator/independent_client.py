"""dlms-cosem 21.3.2 as a client: an implementation that shares nothing with the simulator.

It ciphers with general-glo-ciphering only, which these meters don't offer; `ServiceSpecific` changes nothing but that
envelope, the protection inside stays what dlms-cosem made and checks.
"""

from typing import Any

from dlms_cosem.clients.blocking_tcp_transport import BlockingTcpTransport
from dlms_cosem.clients.dlms_client import DlmsClient
from dlms_cosem.connection import DlmsConnection
from dlms_cosem.enumerations import AuthenticationMechanism

from metercast.simulator import MeterSpec

GENERAL_GLO = 0xDB
GLO_OF_PLAIN = {0xC0: 0xC8, 0xC1: 0xC9, 0xC3: 0xCB}
GLO_RESPONSES = (0xCC, 0xCD, 0xCF)


class ServiceSpecific(BlockingTcpTransport):  # type: ignore[misc]
    """Puts ciphered APDUs into their service-specific envelope and takes them out of it."""

    plain_tag = 0
    server_title = b""

    def send(self, apdu: bytes) -> bytes:
        if apdu[0] == GENERAL_GLO:
            behind_title = 2 + apdu[1]
            apdu = bytes((GLO_OF_PLAIN[self.plain_tag],)) + apdu[behind_title:]
        answer: bytes = super().send(apdu)
        if answer[0] in GLO_RESPONSES:
            title = self.server_title
            answer = bytes((GENERAL_GLO, len(title))) + title + answer[1:]
        return answer


class Connection(DlmsConnection):  # type: ignore[misc]
    """Tells the transport which APDU it ciphers."""

    transport: ServiceSpecific

    def protect(self, event: Any) -> Any:
        self.transport.plain_tag = event.to_bytes()[0]
        return super().protect(event)


def independent_client(
    spec: MeterSpec,
    endpoint: tuple[str, int],
    *,
    client_sap: int = 1,
    max_pdu: int = 65535,
    client_counter: int = 1,
    password: bytes | None = None,
) -> Any:
    """A `DlmsClient` for that meter and client, neither connected nor associated."""
    transport = ServiceSpecific(
        host=endpoint[0],
        port=endpoint[1],
        client_logical_address=client_sap,
        server_logical_address=spec.server_sap,
    )
    transport.server_title = spec.system_title
    managing = client_sap != 16
    mechanisms = {
        "none": None,
        "lls": AuthenticationMechanism.LLS,
        "hls-gmac": AuthenticationMechanism.HLS_GMAC,
    }
    connection = Connection(
        client_system_title=spec.client_system_title if managing else None,
        authentication_method=mechanisms[spec.authentication] if managing else None,
        password=password if password is not None else spec.password,
        global_encryption_key=spec.encryption_key if managing else None,
        global_authentication_key=spec.authentication_key if managing else None,
        max_pdu_size=max_pdu,
        client_invocation_counter=client_counter,
    )
    connection.transport = transport
    return DlmsClient(
        client_logical_address=client_sap,
        server_logical_address=spec.server_sap,
        io_interface=transport,
        dlms_connection=connection,
    )
