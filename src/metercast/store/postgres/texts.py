"""Text that PostgreSQL takes: everything but NUL."""


def storable(text: str | None) -> str | None:
    """Prose, with a picture in NUL's place."""
    return text.replace("\0", "\N{SYMBOL FOR NULL}") if text and "\0" in text else text


def findable(text: str) -> str:
    """What is asked for. With a NUL in it there is no such thing, nor with the noncharacter that then stands for it."""
    return text.replace("\0", "\uffff") if "\0" in text else text
