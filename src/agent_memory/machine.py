"""Which machine this is, where several share one database: the host's name and four random characters, such as
`laptop-3f9a`. Made at the first use and kept in the home's file `machine`, so that it outlives a change of the name."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
import socket
from pathlib import Path

from agent_memory import paths


def here() -> str:
    """The id of this machine; of this home, to be exact: two homes on one host are two machines."""
    return _read(paths.machine())


@functools.cache
def _read(file: Path) -> str:
    if not file.exists():
        host = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().partition(".")[0].lower()).strip("-")
        paths.make_private(file.parent)
        draft = file.with_suffix(f".{os.getpid()}")
        draft.write_text(f"{host[:40] or 'machine'}-{secrets.token_hex(2)}\n", encoding="ascii")
        with contextlib.suppress(
            FileExistsError
        ):  # another process was quicker: it is called what that one said
            os.link(draft, file)
        draft.unlink()
    return file.read_text(encoding="utf-8").strip()
