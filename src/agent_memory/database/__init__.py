"""The database: the embedded server or the user's own, its connections and its migrations."""

from __future__ import annotations

from typing import Any, TypeAlias

import psycopg

Connection: TypeAlias = psycopg.Connection[dict[str, Any]]
"""Every connection of ours gives its rows as dictionaries. Store functions take one and never commit."""
