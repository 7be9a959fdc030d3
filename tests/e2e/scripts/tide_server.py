"""Somebody else's MCP server, with one tool, over stdio."""

from __future__ import annotations

from mcp.server import MCPServer

server = MCPServer("tides", version="1")


@server.tool()
def high_water(harbour: str) -> str:
    """When the tide is high today."""
    return f"High water at {harbour}: 04:12 and 16:38"


if __name__ == "__main__":
    server.run()
