"""What goes wrong outside of us, in words for the person who can mend it."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from agent_memory.errors import AgentMemoryError


def plainly(error: BaseException, where: Path) -> AgentMemoryError | None:
    """Full disks and full memory in words; None for anything else."""
    text = str(error)
    if (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "No space left" in text:
        free = shutil.disk_usage(where).free
        return AgentMemoryError(
            f"The disk of {where} is full ({free / 2**30:.1f} GiB free). The last whole checkpoint is there.",
            "Make room, or move the folder and leave a link; then start it again: it goes on from there.",
        )
    if "PytorchStreamWriter" in text or "unexpected pos" in text:
        return plainly(OSError(errno.ENOSPC, text), where)
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text:
        return AgentMemoryError(
            "The memory is not enough for this training.",
            "Set training.batch to 1 (and accumulate higher), training.context lower, training.dtype to bfloat16, or"
            " take a smaller base. docs/fine_tune/training.md says how much is needed.",
        )
    return None
