"""Commands on the customer's supply."""
