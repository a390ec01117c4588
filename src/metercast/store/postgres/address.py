"""Where a database is, in words for people."""

import re


def where_is(url: str) -> str:
    """host:port/database of a URL: no user, no password, no options."""
    return re.sub(r"^[^/]*//(?:.*@)?", "", url).partition("?")[0]
