"""Run a program that must not outlive us: `tether.py PROGRAM ARGUMENT…`, with a pipe of ours as stdin.

When the pipe closes, as it does however we end, the program is ended. Standard library only, run by its path.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

GRACE_SECONDS = 5.0
"""Between being asked to end and being killed."""


def main(argv: list[str]) -> int:
    program = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: program.terminate())
    signal.signal(
        signal.SIGINT, lambda *_: None
    )  # Ctrl-C reaches the whole group: whoever holds the pipe decides
    threading.Thread(target=_end_with_pipe, args=(program,), daemon=True).start()
    code = program.wait()
    return code if code >= 0 else 128 - code


def _end_with_pipe(program: subprocess.Popen[bytes]) -> None:
    while os.read(0, 1 << 12):
        pass
    program.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.wait(GRACE_SECONDS)
        return
    program.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
