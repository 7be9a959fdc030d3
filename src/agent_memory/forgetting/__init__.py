"""Forgetting what a person names, and retention: what goes from every table, and what keeps it away."""

from __future__ import annotations
