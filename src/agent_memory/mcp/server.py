"""Start the MCP server on standard input and output: `agent-memory mcp`, or `python -m agent_memory.mcp`.

The SDK takes 0.7–1 s to import, the database 0.1–0.7 s to start and the model 0.3 s to load. So the latter two
begin first, in threads; an agent asks its first question when they are done.
"""

from __future__ import annotations

import logging
import os

from agent_memory import settings
from agent_memory.mcp.memory import Memory


def main() -> None:
    """Serve the memory of the folder's project until standard input ends."""
    logging.basicConfig(level=logging.WARNING)  # to standard error: standard output is the protocol
    with Memory(settings.load(), os.environ.get("CLAUDE_PROJECT_DIR") or os.getcwd()) as memory:
        memory.warm()
        from agent_memory.mcp import tools

        tools.server(memory).run("stdio")
