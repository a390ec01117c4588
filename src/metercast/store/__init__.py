"""The store's contract, split by noun, and its implementations."""
