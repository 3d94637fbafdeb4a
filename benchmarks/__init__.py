"""What is claimed of speed, measured: each module prints a table and ends with one JSON line."""
