from __future__ import annotations

from agent_memory.mcp.relay import main

main()
