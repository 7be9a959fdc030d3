"""The MCP server as a process of its own, on standard input and output: `python -m agent_memory.mcp.server`. The relay
(`mcp/relay.py`) starts it where no service answers.

The SDK takes 0.7 s of a core to import and the model 0.4 s to load, the database 0.1–0.7 s of waiting to start.
So the database begins first, in a thread, and the model loads once the server answers: an agent lists the tools
at once, but asks its first question seconds later.
"""

from __future__ import annotations

import gc
import logging
import os

from agent_memory import settings
from agent_memory.mcp.memory import Memory


def main() -> None:
    """Serve the memory of the folder's project until standard input ends."""
    logging.basicConfig(level=logging.WARNING)  # to standard error: standard output is the protocol
    folder, session = (
        os.environ.get("CLAUDE_PROJECT_DIR") or os.getcwd(),
        os.environ.get("CLAUDE_CODE_SESSION_ID"),
    )
    with Memory(settings.load(), folder, session_id=session) as memory:
        memory.open_early()
        gc.disable()  # nothing of an import is garbage: 0.1 s less
        from agent_memory.mcp import tools

        server = tools.server(memory)
        gc.enable()
        memory.load_early()
        server.run("stdio")


if __name__ == "__main__":
    main()
