"""Who may do what over the network, and the record of who did."""

from __future__ import annotations
