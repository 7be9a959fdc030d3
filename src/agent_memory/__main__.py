"""The command `agent-memory`, also as `python -m agent_memory`."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line. `mcp` goes past it: an agent waits, and the command line's imports alone cost 0.4 s."""
    if sys.argv[1:] == ["mcp"]:
        from agent_memory.mcp import relay

        relay.main()
    else:
        interrupted = signal.getsignal(signal.SIGINT)
        if interrupted is signal.default_int_handler:  # else whoever started us wants no Ctrl-C to reach us
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # while we load, it ends us without a traceback
        from agent_memory.cli import main as command_line

        signal.signal(signal.SIGINT, interrupted)
        command_line.main()


if __name__ == "__main__":
    main()
