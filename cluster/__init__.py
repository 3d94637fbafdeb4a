"""Starts, watches and stops the processes of a cluster, and tells people about them. Knows workers by command line."""
