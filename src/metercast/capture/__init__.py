"""Captures of TCP with DLMS in them: files, packets, streams, and what was said. No sockets, no clock."""
