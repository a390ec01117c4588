"""The command `demo`: the whole product on one machine, and the check that it did what it should."""
