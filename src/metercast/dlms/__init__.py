"""DLMS/COSEM without I/O: bytes in, values and events out. No clock, no sockets, no randomness of its own."""
