"""Commands that read what a meter has measured and noted."""
