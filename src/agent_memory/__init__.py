"""A coding agent's flight recorder and memory, on the user's own machine."""

from __future__ import annotations

__version__ = "0.1.0"
