"""Users, sessions, keys and admins, on one cluster."""
