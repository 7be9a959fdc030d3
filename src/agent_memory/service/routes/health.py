"""How the service is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from agent_memory.service import health
from agent_memory.service.state import Service

router = APIRouter()


@router.get("/health")
def get_health(state: Service) -> dict[str, Any]:
    """`status` is `ok`, or `degraded` with the reasons in `problems`. Open to all local callers: it holds no texts."""
    return health.report(state)
