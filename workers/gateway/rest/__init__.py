"""The REST routes, by who asks for what: the public market, orders, accounts, and the service itself."""
