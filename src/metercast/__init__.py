"""Metercast drives one DLMS/COSEM command to every meter of a fleet and always knows what each meter did."""

__version__ = "0.1.0"
