"""Commands on tariffs and bills."""
