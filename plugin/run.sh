#!/bin/sh
# Runs agent-memory for Claude Code, wherever it is installed:
#
#   run.sh hook EVENT    records the event on standard input, and passes on what the memory answers
#   run.sh mcp           serves the memory's tools
#
# Where it is installed stands in its home, in the file `installation`: the Python, and below it the recorder. Every
# start of the service writes it; where it is missing or wrong, the command `agent-memory` on the PATH is asked, once a
# session. Claude Code takes a hook's failure as a reason to stop, so whatever is missing or broken here, a hook ends
# with 0; that nothing is recorded is said when a session starts.

home=${AGENT_MEMORY_HOME:-$HOME/.agent-memory}
case $home in "~/"*) home=$HOME/${home#"~/"} ;; esac

found() {
    { read -r python && read -r hook; } 2>/dev/null <"$home/installation" && [ -x "$python" ] && [ -r "$hook" ]
}

# `agent-memory connect claude` has put the same hooks into Claude Code's own settings: one recording is enough.
connected() {
    grep -qsF "$hook" "${CLAUDE_CONFIG_DIR:-$HOME/.claude}/settings.json" "$CLAUDE_PROJECT_DIR/.claude/settings.json"
}

# Before a call nothing is recorded, and a shell is all that runs where no lesson may speak.
asked() {
    asked=
    while read -r event _; do [ "$event" = PreToolUse ] && asked=1; done 2>/dev/null <"$home/asks"
    [ "$asked" ]
}

# As `agent-memory connect claude` writes it: the file that is named first, from its compiled form, and 0 where it is gone.
run="import sys
del sys.argv[0]
from _frozen_importlib_external import SourceFileLoader
try:
    exec(SourceFileLoader('__main__', sys.argv[0]).get_code('__main__'))
except OSError:
    pass"

not_found="agent-memory is not installed here, or was moved."

case $1 in
hook)
    if [ "$2" = PreToolUse ] && ! asked; then
        cat >/dev/null
        exit 0
    fi
    found || { [ "$2" = SessionStart ] && agent-memory locate >/dev/null 2>&1 </dev/null && found; }
    if [ $? -ne 0 ]; then
        cat >/dev/null
        [ "$2" = SessionStart ] && printf '{"systemMessage": "%s %s"}\n' "$not_found" \
            "Its plugin records nothing. Start it once (agent-memory up --detach), or remove the plugin."
    elif connected; then
        cat >/dev/null
    else
        "$python" -I -S -c "$run" "$hook" claude
    fi
    exit 0
    ;;
mcp)
    found || { agent-memory locate >/dev/null 2>&1 </dev/null && found; } || {
        echo "$not_found Start it once: agent-memory up --detach" >&2
        exit 1
    }
    exec "$python" -I -m agent_memory.mcp
    ;;
esac
