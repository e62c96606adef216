"""SKA's log format: one line a record, which no text can forge (devices layer).

`1|time|LEVEL|thread|function|file#line|tags|message`, times in UTC with milliseconds.
"""

from __future__ import annotations

import logging
import time

from ska_oso_activity.devices.refusals import printable


class SkaFormatter(logging.Formatter):
    """Formats records as SKA's log collectors read them.

    Control characters are escaped. The lines of a traceback follow their record, indented, so that
    none can pass for a record of its own.

    Args:
        tags: of records that have none of their own.
    """

    def __init__(self, tags: str = "") -> None:
        super().__init__()
        self.tags = tags

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = (
            "1",
            f"{seconds}.{int(record.msecs):03d}Z",
            record.levelname,
            record.threadName or "",
            record.funcName or "",
            f"{record.filename}#{record.lineno}",
            str(getattr(record, "tags", "") or self.tags),
        )
        line = "|".join(printable(each).replace("|", "/") for each in fields)
        lines = [f"{line}|{printable(record.getMessage())}"]
        if record.exc_info:
            lines += self.formatException(record.exc_info).splitlines()
        if record.stack_info:
            lines += record.stack_info.splitlines()
        return "\n    ".join([lines[0], *map(printable, lines[1:])])
