"""A profile drafted from what was found out of a meter: only what differs from the one that it extends."""

from collections.abc import Mapping
from typing import Any

from metercast.profiles.collection import BUILT_IN, Loaded, load_one
from metercast.profiles.files import SUFFIX, parse_text
from metercast.profiles.inheritance import leaves
from metercast.profiles.model import GENERIC
from metercast.profiles.toml_text import tables


def draft(
    name: str,
    values: Mapping[str, Any],
    *,
    extends: str = GENERIC,
    notes: Mapping[str, str] | None = None,
) -> str:
    """The TOML of a profile called `name`, which loads; its last line ends.

    `values` by keys with dots ("dates.deviation_sign", "clients.reader.sap"); those that are so in `extends` are left
    out. `notes`, by the same keys, are comments behind them, of one line each. Raises UnknownProfile where `extends`
    is not built in, and ProfileError for a name, a key or a value that no profile may have.
    """
    base = dict(leaves(BUILT_IN.find(extends).merged.values))
    differing: dict[str, Any] = {"extends": extends}
    for key, value in values.items():
        if key in base and base[key] == value:
            continue
        table = differing
        *path, last = key.split(".")
        for step in path:
            below = table.setdefault(step, {})
            if not isinstance(below, dict):
                below = table[step] = {}
            table = below
        table[last] = value
    text = "\n".join(tables(differing, notes or {})) + "\n"
    check_draft(name, text)
    return text


def check_draft(name: str, text: str) -> Loaded:
    """What the text is as a file of that name beside the built-in profiles. Raises ProfileError."""
    return load_one(parse_text(text, name, f"{name}{SUFFIX}"))
