"""From a meter's record and secrets to the settings of one association."""

from metercast.commands.contract import StepFailed
from metercast.dlms.conformance import CLIENT_DEFAULT, bits
from metercast.dlms.elliptic import PrivateKey, PublicKey
from metercast.dlms.errors import EncodeError
from metercast.dlms.settings import AssociationSettings, ManufacturerMethod
from metercast.dlms.settings import Authentication as DlmsAuthentication
from metercast.dlms.settings import Protection as DlmsProtection
from metercast.domain.meter import (
    Association,
    AssociationSecrets,
    Authentication,
    Meter,
    Protection,
    password_octets,
)
from metercast.domain.words import ErrorWord
from metercast.profiles.model import Profile

MAX_RESPONSE_OCTETS = 1024 * 1024

_AUTHENTICATIONS = {each: DlmsAuthentication(each.value) for each in Authentication}
_PROTECTIONS = {each: DlmsProtection(each.value) for each in Protection}


def management_settings(meter: Meter, profile: Profile) -> AssociationSettings:
    """The settings of the association that commands use.

    StepFailed(CredentialsMissing) names what is missing, StepFailed(InternalError) what should never have been
    stored; neither tells a value.
    """
    record = meter.record
    association = record.management
    name = record.management_name
    secrets = meter.secrets_of(name)
    missing = _missing(association, secrets)
    if missing:
        what = ", ".join(f"associations.{name}.{each}" for each in missing)
        raise StepFailed(ErrorWord.CREDENTIALS_MISSING, f"the meter's record lacks {what}")
    suite = association.security_suite
    broadcast = association.key_set == "broadcast"
    signs = association.authentication is Authentication.HLS_ECDSA
    try:
        return AssociationSettings(
            client_sap=association.client_sap or profile.client_sap(name),
            server_sap=record.server_sap,
            authentication=_AUTHENTICATIONS[association.authentication],
            protection=_PROTECTIONS[association.protection],
            security_suite=suite,
            client_system_title=_octets(association.client_system_title),
            server_system_title=_octets(record.identity.server_system_title),
            password=password_octets(secrets.password),
            encryption_key=_octets(secrets.broadcast_key if broadcast else secrets.encryption_key),
            authentication_key=_octets(secrets.authentication_key),
            broadcast=broadcast,
            dedicated=association.dedicated_ciphering,
            general_protection=association.general_protection,
            manufacturer_method=ManufacturerMethod(association.hls_method) if association.hls_method else None,
            signing_key=PrivateKey.parse(secrets.signing_key or "", suite) if signs else None,
            server_public_key=PublicKey.parse(association.server_public_key or "", suite) if signs else None,
            max_receive_pdu_size=profile.association.max_receive_pdu,
            conformance=_proposed(profile),
            response_limit=MAX_RESPONSE_OCTETS,
        )
    except (ValueError, EncodeError):  # its message could hold the value
        raise StepFailed(ErrorWord.INTERNAL_ERROR, f"a secret of associations.{name} is not in its format") from None


def counter_settings(meter: Meter, profile: Profile) -> AssociationSettings:
    """The client that may read invocation counters: no authentication, no protection (catalogue 2.7)."""
    name = profile.association.counter_client
    association = meter.record.associations.get(name) or Association()
    client_sap = association.client_sap or profile.client_sap(name)
    return AssociationSettings(
        client_sap=client_sap,
        server_sap=meter.record.server_sap,
        max_receive_pdu_size=profile.association.max_receive_pdu,
        conformance=_proposed(profile),
    )


def _proposed(profile: Profile) -> int:
    """What is proposed by default but for what the profile withholds."""
    return CLIENT_DEFAULT.value & ~bits(profile.association.withheld_services)


def _missing(association: Association, secrets: AssociationSecrets) -> list[str]:
    missing = []
    authentication = _AUTHENTICATIONS[association.authentication]
    needs_keys = association.protection is not Protection.NONE or authentication is DlmsAuthentication.HLS_GMAC
    if association.needs_title and association.client_system_title is None:
        missing.append("clientSystemTitle")
    if needs_keys:
        if association.key_set == "unicast" and secrets.encryption_key is None:
            missing.append("encryptionKey")
        if association.key_set == "broadcast" and secrets.broadcast_key is None:
            missing.append("broadcastKey")
        if secrets.authentication_key is None:
            missing.append("authenticationKey")
    if authentication.needs_password and not secrets.password:
        missing.append("password")
    if authentication is DlmsAuthentication.HLS_ECDSA:
        if secrets.signing_key is None:
            missing.append("signingKey")
        if association.server_public_key is None:
            missing.append("serverPublicKey")
    return missing


def _octets(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)
