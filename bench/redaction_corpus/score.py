"""How a redacted text compares with what should have become of it."""

from __future__ import annotations

import re

from bench.redaction_corpus.carriers import Planted
from bench.redaction_corpus.secrets import KINDS

MARKER = re.compile(r"\[REDACTED:[a-z0-9-]+\]")
PUBLIC = {kind.name: kind.public for kind in KINDS}
WINDOW = 8
"""Characters in a row of a secret that are a leak; fewer are shared by chance."""


def survives(planted: Planted, redacted: str) -> bool:
    """Whether any eight characters in a row of the secret, or of its form in the text, are still there."""
    left = MARKER.sub("\0", redacted)
    elsewhere = planted.before + planted.after
    for secret in (planted.form, planted.secret.removeprefix(PUBLIC[planted.kind])):
        length = min(WINDOW, len(secret))
        for start in range(len(secret) - length + 1):
            piece = secret[start : start + length]
            if piece in left and piece not in elsewhere:
                return True
    return False


def is_exact(planted: Planted, redacted: str) -> bool:
    """Whether one marker stands in the secret's place and all else is as it was."""
    return MARKER.sub("\0", redacted) == planted.before + "\0" + planted.after
