"""What the relational stores share: decisions on what was read, and rows as structs. No SQL, and no dialect."""
