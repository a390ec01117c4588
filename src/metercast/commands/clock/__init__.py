"""Commands on the meter's clock."""
