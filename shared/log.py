"""Structured logs: one constant sentence and fields, one line of key=value text on stderr per record."""

import logging
import sys

import structlog


def configure(level: str, worker: str) -> None:
    """Set up logging for this process; every record names ``worker``."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "worker", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(worker=worker)
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )


def get() -> structlog.typing.FilteringBoundLogger:
    """The process's logger."""
    return structlog.get_logger()  # type: ignore[no-any-return]
