"""First contact: finds out what answers at an address, read-only and politely. Used by `metercast probe`."""
