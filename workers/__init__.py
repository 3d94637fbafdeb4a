"""One package per kind of process. ``python -m workers.X`` starts one."""
