"""From an agent's own words to journal rows: the spool's drain, and the backfill of transcripts."""

from __future__ import annotations
