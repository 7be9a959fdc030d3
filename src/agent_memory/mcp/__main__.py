from __future__ import annotations

from agent_memory.mcp.server import main

main()
