"""What differs per meter model, as data: TOML files that inherit from each other, checked when they are loaded."""
