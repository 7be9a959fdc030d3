"""Everything that is remembered, as lines of JSON that outlive this program: sessions, prompts, calls, messages and
observations. Index and vectors are not in it: they can be built again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson

from agent_memory import __version__
from agent_memory.database import Connection
from agent_memory.journal.redaction import redact_value
from agent_memory.observations import store

FORMAT = "agent-memory export, version 1"


def lines(conn: Connection, *, project_id: int | None = None) -> Iterator[bytes]:
    """One line a row, in order of time within each kind: `{"table": …, "row": {…}}`. The first line says what it is.

    Secrets are looked for once more on the way out. Holds a page of rows in memory, however much there is.
    """
    yield _line({"format": FORMAT, "by": f"agent-memory {__version__}", "made_at": datetime.now(UTC)})
    for table in store.EXPORTED:
        for row in store.exported(conn, table, project_id=project_id):
            yield _line({"table": table, "row": redact_value(row)})


def _line(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)
