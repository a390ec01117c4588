"""What can go wrong, by whose fault it is."""


class DlmsError(Exception):
    """Anything this package raises on purpose."""


class LocalProtocolError(DlmsError):
    """We misused the protocol: a service out of order, a setting that contradicts another."""


class EncodeError(LocalProtocolError):
    """A value that its type, or the field it goes into, can't hold."""


class NotNegotiated(LocalProtocolError):
    """The service, or the size of the request, is outside what the association negotiated."""


class RequestTooLong(NotNegotiated):
    """The request does not fit the server's PDU, and no block transfer that was negotiated would carry it."""


class CountersExhausted(LocalProtocolError):
    """No invocation counter is left to protect the next APDU with."""


class RemoteProtocolError(DlmsError):
    """The peer's bytes are wrong."""


class DecodeError(RemoteProtocolError):
    """The octets are not what the standard says they must be."""


class TooLongError(RemoteProtocolError):
    """The peer sends more than the limit set here."""


class UnexpectedAnswer(RemoteProtocolError):
    """A well-formed APDU that does not answer what was asked."""


class LinkRefused(RemoteProtocolError):
    """The peer does not open the link, or has ended it."""


class SecurityError(RemoteProtocolError):
    """The peer does not prove that it holds the keys: forged, where no error below says it better."""


class DowngradeError(SecurityError):
    """Less protection than was agreed on: none, another suite or key, no challenge."""


class ReplayError(SecurityError):
    """An invocation counter that does not rise, or a challenge of our own."""


class IdentityError(SecurityError):
    """The peer names another system title than the one expected."""
