"""Drivers take one command to one meter in one session and say what it came to."""
