"""The HTTP API: one file a noun, and around them what every call shares."""
