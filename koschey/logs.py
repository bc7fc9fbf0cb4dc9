"""Structured logs: structlog through the standard library, one line per event, to standard error."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from koschey.domain.credentials import without_secrets
from koschey.errors import SettingsInvalid

_LEVELS = ("debug", "info", "warning", "error")


def configure(log_format: str, log_level: str) -> None:
    """Set up logging for this process.

    Args:
        log_format: ``json``, ``console``, or ``auto``: console on a terminal, else json.
        log_level: the least level that is written: debug, info, warning, error.

    Raises:
        SettingsInvalid: another word.
    """
    if log_format not in ("auto", "json", "console"):
        raise SettingsInvalid("log_format", f"{log_format!r} is not json, console or auto")
    if log_level not in _LEVELS:
        raise SettingsInvalid("log_level", f"{log_level!r} is not one of {', '.join(_LEVELS)}")
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Any = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _redacted,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(log_level.upper())
    for noisy in ("flask_wtf", "urllib3", "botocore", "boto3", "alembic", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _redacted(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The last line of defence: whatever was logged, our own secrets are not in it."""
    return {key: without_secrets(value) if isinstance(value, str) else value for key, value in event.items()}
