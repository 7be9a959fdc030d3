"""Health that tells the truth. Facts are gathered by `look` (cheap, at every poll) and `deep` (for the doctor), `rules`
say what is wrong with them and what to do, `fixes` do what is safe."""

from __future__ import annotations
