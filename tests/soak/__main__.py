"""``python -m tests.soak``."""

from tests.soak.command import main

main(prog_name="python -m tests.soak")
