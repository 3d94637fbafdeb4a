"""``python -m tests.processes.crash``."""

from tests.processes.crash.command import main

if __name__ == "__main__":
    main()
