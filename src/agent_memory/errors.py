"""The one error that users see: what is wrong, and what to do about it."""

from __future__ import annotations


class AgentMemoryError(Exception):
    """Something went wrong that the person at the keyboard can mend.

    ``problem`` is one sentence that says what is wrong; ``remedy`` is one that says what to do. The command line
    prints both and exits with `exit_code`; the REST API sends them as problem details (RFC 9457).
    """

    exit_code = 1

    def __init__(self, problem: str, remedy: str, *, status: int = 500) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy
        self.status = status
        """The HTTP status that the REST API answers with."""
