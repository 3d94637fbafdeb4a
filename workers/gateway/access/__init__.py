"""Who may do what, how often: keys, sessions, roles, rates and the sockets that are open."""
