"""One measured figure and the bar it is held against."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """`value` compared with `bar`: a ceiling where `at_most`, else a floor. Without a bar it only informs."""

    name: str
    value: float
    unit: str = ""
    bar: float | None = None
    at_most: bool = True
    detail: str = ""

    @property
    def holds(self) -> bool:
        if self.bar is None:
            return True
        return self.value <= self.bar if self.at_most else self.value >= self.bar
