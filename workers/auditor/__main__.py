"""``python -m workers.auditor``: check the whole cluster while it runs, until told to stop."""

from workers.auditor.process import main

if __name__ == "__main__":
    main()
