"""How much one caller may ask for in a minute. What is refused was not begun, so nothing of it is lost: the answer says
when to send it again."""

from __future__ import annotations

import logging
import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from agent_memory.errors import AgentMemoryError
from agent_memory.settings import Settings

log = logging.getLogger(__name__)


class TooManyRequests(AgentMemoryError):  # noqa: N818 - named as HTTP does
    """The caller has to wait `seconds`."""

    def __init__(self, allowed: int, what: str, seconds: int) -> None:
        super().__init__(
            f"More than {allowed} {what} in a minute.",
            f"Send this again in {seconds} s; nothing of it was done. The limits are settings (RATE_LIMIT_…).",
            status=429,
        )
        self.seconds = seconds


class Limits:
    """The counters of one running service."""

    def __init__(self, settings: Settings) -> None:
        self._allowed = {
            ("tcp", "writes"): settings.rate_limit_writes,
            ("tcp", "reads"): settings.rate_limit_reads,
            ("mcp", "writes"): settings.rate_limit_writes,
            ("mcp", "reads"): settings.rate_limit_reads,
            ("socket", "writes"): settings.rate_limit_socket,
            ("socket", "reads"): settings.rate_limit_socket,
        }
        self._counters = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._refused: set[tuple[str, str, str]] = set()
        """Who is sent away at the moment: told in the log once, however often it comes."""

    def count(self, caller: str, *, door: str, writes: bool) -> None:
        """Count one request. Raises TooManyRequests where it is one too many."""
        what = "writes" if writes else "reads"
        allowed = self._allowed[door, what]
        if allowed == 0:
            return
        item = RateLimitItemPerMinute(allowed)
        key = (door, caller, what)
        if self._counters.hit(item, *key):
            self._refused.discard(key)
            return
        if key not in self._refused:
            self._refused.add(key)
            log.warning(
                "%s by %s asks for more than %d %s in a minute, and is sent away", caller, door, allowed, what
            )
        until = self._counters.get_window_stats(item, *key).reset_time
        raise TooManyRequests(allowed, what, max(1, math.ceil(until - time.time())))
