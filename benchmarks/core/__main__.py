"""``python -m benchmarks.core``."""

from benchmarks.core.command import main

main()
