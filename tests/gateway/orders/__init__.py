"""Every kind of order, from the request to its end, on one cluster."""
