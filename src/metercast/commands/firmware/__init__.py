"""Commands on the meter's firmware."""
