"""How the extra `[finetune]`, the packages that training needs, gets into this installation."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import sys
from urllib.parse import unquote, urlsplit


def install() -> str:
    """What to type for it: into this Python, and from where agent-memory itself came."""
    told = importlib.metadata.distribution("agent-memory").read_text("direct_url.json")
    origin = json.loads(told) if told else {}
    parts = urlsplit(origin.get("url", ""))
    pip = f"{shlex.quote(sys.executable)} -m pip install"
    if parts.scheme != "file" or "dir_info" not in origin:
        return f"{pip} 'agent-memory[finetune]'"
    editable = " --editable" if origin["dir_info"].get("editable") else ""
    return f"{pip}{editable} {shlex.quote(f'{unquote(parts.path)}[finetune]')}"
