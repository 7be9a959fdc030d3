"""Our MCP server as it is, but over HTTP: the conformance suite speaks nothing else. Arguments: PORT FOLDER."""

from __future__ import annotations

import sys

from agent_memory import settings
from agent_memory.mcp import tools
from agent_memory.mcp.memory import Memory

if __name__ == "__main__":
    with Memory(settings.load(), sys.argv[2]) as memory:
        tools.server(memory).run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
