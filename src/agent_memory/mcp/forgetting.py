"""The tool that forgets: for good, or by marking what no longer holds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from mcp.server import MCPServer
from mcp.types import CallToolResult
from pydantic import BaseModel, Field

from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.mcp.memory import Memory
from agent_memory.mcp.results import DESTROYS, result, told
from agent_memory.observations import notes
from agent_memory.recall import search as recalling

if TYPE_CHECKING:
    from agent_memory.forgetting.forget import Receipt

MOST_FORGOTTEN = 20
"""Memories that an agent may forget at once. More is for the user's own hand."""


class Forgotten(BaseModel):
    tombstone: int | None = None
    counts: dict[str, int] = {}


def register(mcp: MCPServer[None], memory: Memory) -> None:
    """Add the tool to the server."""

    @mcp.tool(title="Forget", annotations=DESTROYS)
    @told
    def forget(
        *,
        ids: Annotated[
            list[int] | None, Field(max_length=MOST_FORGOTTEN, description="Ids, as listed.")
        ] = None,
        text: Annotated[
            str | None, Field(max_length=2_000, description="A passage: all that holds it goes.")
        ] = None,
        no_longer_holds: Annotated[
            bool, Field(description="Keep them as the past, marked; recall stops giving them. With ids.")
        ] = False,
        because: Annotated[str | None, Field(max_length=notes.LONGEST_REASON)] = None,
    ) -> CallToolResult:
        """Forget for good what the user wants to be gone: observations with what they were recorded from, or all that
        holds a passage. Use it only when the user asks for it. For what was true and is no longer, set
        no_longer_holds, or save what is true now with supersedes."""
        # Here, since an agent waits for the server's start, and hardly ever forgets.
        from agent_memory.forgetting import forget as forgetting
        from agent_memory.forgetting.forget import Wanted

        wanted = Wanted(ids=tuple(ids or ()), text=text)

        def retract(conn: Connection, project: int) -> None:
            own = {one.id for one in recalling.get(conn, project_id=project, ids=wanted.ids)}
            for number in wanted.ids:
                # One of another project is not there for this one.
                notes.retract(conn, number if number in own else 0, because=because, settings=memory.settings)
                memory.write_down(conn, project, "forget", target=f"retract #{number}")

        def remove(conn: Connection, project: int) -> Receipt:
            receipt = forgetting.forget(
                conn, replace(wanted, project_id=project), by="mcp", at_most=MOST_FORGOTTEN
            )
            done = f"{receipt.what}, tombstone {receipt.tombstone}"
            memory.write_down(conn, project, "forget", target=done)
            return receipt

        if not wanted.ids and (text is None or no_longer_holds):
            raise AgentMemoryError(
                "It is not said what.", "Give ids, as search and recall show them, or a text."
            )
        if no_longer_holds:
            memory.run(retract)
            numbers = ", ".join(f"#{number}" for number in wanted.ids)
            return result(f"Marked as no longer holding: {numbers}.", Forgotten())
        receipt = memory.run(remove)
        memory.clean_up()
        gone = ", ".join(
            f"{n} {table.removeprefix('mem_').replace('_', ' ')}" for table, n in receipt.counts.items()
        )
        said = f"Forgotten: {gone or 'nothing was stored of it'}. It will not come back."
        if receipt.stale:
            said += " A data set for training still holds it: tell the user to look at agent-memory finetune runs."
        return result(said, Forgotten(tombstone=receipt.tombstone, counts=dict(receipt.counts)))
