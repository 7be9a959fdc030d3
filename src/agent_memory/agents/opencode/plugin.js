// The recorder of agent-memory for OpenCode. Installed by `agent-memory connect opencode`, which fills in the next line;
// changes are overwritten by the next one.
const { python, hook, home } = __SETTINGS__

// Contract: nothing that is thrown here reaches OpenCode (an exception in a plugin fails the tool call), and nothing slow
// is waited for. What happens is left in the spool as one file an event, as hook.py does: it needs no service. Writing a
// file takes 0.1 ms and is done at once, since `opencode run` may exit before anything asynchronous comes to its end.
import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { existsSync, mkdirSync, renameSync, unlinkSync, writeFileSync } from "node:fs"

let written = 0

function record(payload) {
  const ns = BigInt(Date.now()) * 1000000n + BigInt(written++ % 1000000)
  const name = `${String(ns).padStart(20, "0")}-${process.pid}-${randomBytes(4).toString("hex")}.opencode`
  const draft = `${home}/spool/tmp/${name}`
  try {
    const text = JSON.stringify(payload)
    try {
      writeFileSync(draft, text, { mode: 0o600, flag: "wx" })
    } catch (error) {
      if (error.code !== "ENOENT") throw error
      for (const folder of [home, `${home}/spool`, `${home}/spool/tmp`, `${home}/spool/new`])
        mkdirSync(folder, { mode: 0o700, recursive: true })
      writeFileSync(draft, text, { mode: 0o600, flag: "wx" })
    }
    renameSync(draft, `${home}/spool/new/${name}`)
  } catch {
    try {
      unlinkSync(draft) // half a payload is no event; the session's database still has it
    } catch {}
  }
}

// The hook writes this one, since it also starts the service where it does not run.
function recordStart(payload) {
  const text = JSON.stringify(payload)
  const child = spawn(python, ["-I", "-S", hook, "opencode", home], { detached: true, stdio: ["pipe", "ignore", "ignore"] })
  child.unref()
  child.on("error", () => record(payload))
  child.stdin.on("error", () => {})
  child.stdin.end(text)
}

const quietly = (handler) => async (input, output) => {
  try {
    handler(input, output)
  } catch {}
}

export const AgentMemory = async ({ directory }) => {
  if (!existsSync(hook)) return {} // agent-memory was uninstalled: its spool would only grow
  const sessions = new Map() // session id -> what is known of it
  const texts = new Map() // message id -> its finished text parts, until the message is complete
  const running = new Set() // ids of tool calls whose beginning was recorded

  const session = (id) => {
    if (!sessions.has(id)) sessions.set(id, {})
    return sessions.get(id)
  }
  const root = (id) => {
    for (let depth = 0; depth < 10 && session(id).parentID; depth++) id = session(id).parentID
    return id
  }
  const about = (event, id) => {
    const { agent, model, version, directory: folder } = session(id)
    const rootID = root(id)
    return {
      event, sessionID: id, rootID, promptID: session(rootID).promptID, agent, model, version,
      directory: folder ?? directory, at: Date.now(),
    }
  }
  const start = (id, source) => {
    if (session(id).started || session(id).parentID) return
    session(id).started = true
    recordStart({ hook_event_name: "SessionStart", ...about("start", id), source })
  }

  const events = {
    "session.created": ({ info }) => {
      Object.assign(session(info.id), { parentID: info.parentID, version: info.version, directory: info.directory })
      start(info.id, "startup")
    },
    "session.updated": ({ info }) => {
      const { parentID, version, directory: folder, agent } = info
      Object.assign(session(info.id), { parentID, version, directory: folder, agent })
    },
    "message.part.updated": ({ part }) => {
      if (part.type === "text" && part.time?.end && !part.synthetic) {
        texts.set(part.messageID, [...(texts.get(part.messageID) ?? []).filter((p) => p.id !== part.id), part])
      } else if (part.type === "tool" && part.state.status === "running" && !running.has(part.callID)) {
        running.add(part.callID)
        record({ ...about("tool", part.sessionID), part })
      } else if (part.type === "tool" && ["completed", "error"].includes(part.state.status)) {
        running.delete(part.callID)
        const { attachments, ...state } = part.state // images, as base64
        record({ ...about("tool", part.sessionID), part: { ...part, state } })
      }
    },
    "message.updated": ({ info }) => {
      if (info.role !== "assistant") return
      session(info.sessionID).model = info.modelID
      if (!info.time.completed || !texts.has(info.id)) return
      record({ ...about("message", info.sessionID), info, parts: texts.get(info.id) })
      texts.delete(info.id)
    },
    "session.idle": ({ sessionID }) => record(about("idle", sessionID)),
    "session.error": ({ sessionID, error }) => sessionID && record({ ...about("error", sessionID), error }),
  }

  return {
    event: quietly(({ event }) => events[event.type]?.(event.properties)),
    "command.execute.before": quietly(({ sessionID, command }) => {
      session(sessionID).command = command
    }),
    "chat.message": quietly(({ sessionID }, { message, parts }) => {
      const here = session(sessionID)
      start(sessionID, "resume")
      const { command } = here
      delete here.command
      here.promptID = message.id
      here.model = message.model?.modelID
      const words = parts.filter((part) => part.type === "text" || part.type === "subtask")
      record({ ...about("prompt", sessionID), message, parts: words, command })
    }),
    dispose: quietly(() => {
      for (const [id, { started }] of sessions) if (started) record(about("end", id))
    }),
  }
}
