"""Real clients that nobody here wrote, against a running cluster."""
