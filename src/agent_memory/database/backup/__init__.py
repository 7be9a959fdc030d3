"""Backups of the database: made whole or not at all, proven by a restore, brought back without losing what is there.

`archive` keeps them in the home, `fingerprint` says whether two databases hold the same, `programs` finds and runs
Postgres's own tools, `make` writes a backup, `restore` proves one and brings it back by way of a `scratch` database,
`schedule` has one made each night.
"""

from __future__ import annotations
