"""Benchmarks: one command, one table. Run them through `make bench` or `make bench-NAME`."""

from __future__ import annotations
