"""Commands on the meter itself: what it holds, its keys, what it sends."""
