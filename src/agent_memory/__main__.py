"""`python -m agent_memory` is the command `agent-memory`."""

from __future__ import annotations

from agent_memory.cli.main import main

main()
