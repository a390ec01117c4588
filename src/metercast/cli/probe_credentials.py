"""The file of credentials that `probe` may open one association with: an association, or a device record with one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from metercast.cli.exits import CommandFailed

if TYPE_CHECKING:
    from metercast.probe.settings import Credentials

MAX_FILE = 64 << 10
_COUNTER = "invocationCounter"
_MAX_COUNTER = 0xFFFFFFFF


def read_credentials(path: Path) -> "Credentials":
    """`invocationCounter` beside the association's fields is the next to use. CommandFailed never tells a secret."""
    document = _object(path)
    association = document
    if isinstance(document.get("associations"), dict):
        association = document["associations"].get("management")
        if not isinstance(association, dict):
            raise CommandFailed(f"{path} holds no association named management")
    association = dict(association)
    counter = association.pop(_COUNTER, None)
    if counter is not None and not (type(counter) is int and 0 <= counter <= _MAX_COUNTER):
        raise CommandFailed(f"{path}: {_COUNTER} must be a whole number from 0 to {_MAX_COUNTER}")
    return _credentials(path, association, counter)


def _object(path: Path) -> dict[str, Any]:
    import msgspec

    try:
        with path.open("rb") as file:
            document = msgspec.json.decode(file.read(MAX_FILE))
    except OSError as error:
        raise CommandFailed(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CommandFailed(f"{path}: {error}") from None
    if not isinstance(document, dict):
        raise CommandFailed(f"{path}: not a JSON object")
    return document


def _credentials(path: Path, association: dict[str, Any], counter: int | None) -> "Credentials":
    from metercast.commands.contract import StepFailed
    from metercast.dlms.errors import LocalProtocolError
    from metercast.domain.meter import Meter
    from metercast.domain.problem import Problem
    from metercast.driver.credentials import management_settings
    from metercast.engine.decoding import convert
    from metercast.engine.meters import MeterRequest, shows_no_secret
    from metercast.probe.settings import Credentials
    from metercast.profiles.collection import BUILT_IN
    from metercast.profiles.model import GENERIC

    document = {"connection": {"host": "probe"}, "associations": {"management": association}}
    try:
        request = convert(document, MeterRequest, "", shows_no_secret)
        settings = management_settings(Meter("probe", request.record, request.secrets({})), BUILT_IN.get(GENERIC))
        settings.check()
    except Problem as problem:
        raise CommandFailed(f"{path}: {problem.detail}") from None
    except (StepFailed, LocalProtocolError) as error:
        raise CommandFailed(f"{path}: {error}") from None
    return Credentials(settings=settings, next_counter=counter)
