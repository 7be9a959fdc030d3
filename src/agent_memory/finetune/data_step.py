"""The step "data set": take the one that the configuration names, or make one of the recorded sessions; either way the
audit's gates go into the run."""

from __future__ import annotations

import shutil
from typing import Any

from agent_memory import settings
from agent_memory.database import Connection
from agent_memory.errors import AgentMemoryError
from agent_memory.finetune import dataset, measure, register, store
from agent_memory.finetune.dataset import GateFailedError, Wanted
from agent_memory.finetune.files import sha256
from agent_memory.finetune.formats import Format
from agent_memory.finetune.gates import Gate
from agent_memory.finetune.measure import Measure
from agent_memory.finetune.pipeline import Progress, Tell
from agent_memory.finetune.run import Outcome, Run
from agent_memory.journal import projects

FORM: Format = "trl"
_AGAIN = "Make it again: agent-memory finetune dataset, or leave data.folder out."


def make(run: Run, tell: Tell) -> Outcome:
    with register.database() as conn:
        return _taken(conn, run) if run.config.data.folder else _made(conn, run, tell)


def _made(conn: Connection, run: Run, tell: Tell) -> Outcome:
    """A new one in the run's folder. One that the run made before goes: the journal may have grown since, or shrunk."""
    if (run.data / dataset.MANIFEST).is_file():
        store.withdraw(conn, sha256(run.data / dataset.MANIFEST))
        conn.commit()
    shutil.rmtree(run.data, ignore_errors=True)
    wanted = run.config.data
    project = projects.resolve(conn, wanted.project) if wanted.project else None
    if wanted.project and project is None:
        raise AgentMemoryError(
            f"No project {wanted.project!r} is known here, which data.project names.",
            "Name it by its folder's path, its git remote or its id, or leave it out for all.",
        )
    conn.commit()
    tell(Progress(text="Sessions become rows, and rows go through the gates …"))
    try:
        published = dataset.make(
            conn,
            Wanted(
                project_id=project,
                agent=wanted.agent,
                since=wanted.since.astimezone() if wanted.since else None,
                success_only=wanted.success_only,
                form=FORM,
                tokens=run.config.training.context,
                measure=_measure(run),
            ),
            run.data,
            settings.load(),
        )
    except GateFailedError as error:
        return Outcome(gates=error.gates)
    return _found(published.manifest)


def _measure(run: Run) -> Measure:
    """Rows as long as they will be in training: by the base's tokenizer, in the template that it is trained with."""
    # heavy, and not needed for a set that is there
    from agent_memory.finetune.training import base
    from agent_memory.finetune.training.encode import Encoder

    folder = base.folder(run)
    tokenizer = base.tokenizer(run, folder)
    return measure.by_template(
        tokenizer, f"{folder.name}'s tokenizer, as trained", Encoder(tokenizer, ()).twin
    )


def _taken(conn: Connection, run: Run) -> Outcome:
    """A published one, if it is what was audited, in the form that is trained on, and nothing of it was forgotten."""
    known = dataset.state_of(conn, run.data)
    changed = dataset.changed_files(run.data)
    manifest = register.manifest(run) or {}
    stale = known["stale_since"] if known else None
    context, tokens = run.config.training.context, (manifest.get("wanted") or {}).get("tokens", 0)
    gates = [
        Gate(
            name="known to have passed its gates",
            wants="in this database's register",
            found=f"data set {known['id']}" if known else "nobody knows it",
            passed=known is not None,
            remedy=_AGAIN,
        ),
        Gate(
            name="as it was published",
            wants="every file as its manifest says",
            found=f"changed: {', '.join(changed[:5])}" if changed else "all of them",
            passed=not changed,
            remedy=_AGAIN,
        ),
        Gate(
            name="nothing forgotten since",
            wants="nothing",
            found=f"stale since {stale:%Y-%m-%d %H:%M}" if stale else "nothing",
            passed=stale is None,
            remedy=f"{_AGAIN} Then delete this one.",
        ),
        Gate(
            name="format",
            wants=FORM,
            found=str(manifest.get("format")),
            passed=manifest.get("format") == FORM,
            remedy="Make it with --format trl.",
        ),
        Gate(
            name="fits the context",
            wants=f"rows of at most {context:,} tokens",
            found=f"{tokens:,}",
            passed=tokens <= context,
            remedy=f"Set training.context to {tokens}, or make the data set with --tokens {context}.",
        ),
    ]
    outcome = _found(manifest)
    return Outcome(gates=[*gates, *outcome.gates], numbers=outcome.numbers)


def _found(manifest: Any) -> Outcome:
    counts = manifest.get("counts", {})
    return Outcome(
        gates=[Gate(**gate) for gate in manifest.get("gates", ())],
        numbers={
            "rows": manifest.get("rows"),
            **counts,
            "dropped": manifest.get("dropped"),
            "tokenizer": manifest.get("tokenizer"),
        },
    )
