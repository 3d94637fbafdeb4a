"""``python -m benchmarks.gateway``."""

from benchmarks.gateway.command import main

main()
