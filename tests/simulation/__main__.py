"""``python -m tests.simulation``."""

from tests.simulation.command import main

main(prog_name="python -m tests.simulation")
