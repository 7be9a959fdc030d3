"""The REST API against a fuzzer that reads its OpenAPI schema: whatever comes in, nothing breaks (no 5xx)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.installation import installed

pytestmark = pytest.mark.timeout(900)

FUZZER = Path(sys.executable).parent / "schemathesis"


def test_no_request_that_the_schema_allows_or_forbids_breaks_the_service() -> None:
    with installed({"README.md": "# Fuzzed\n"}) as machine:
        with (machine.memory / "config.toml").open("a", encoding="utf-8") as config:
            config.write("rate_limit_writes = 0\nrate_limit_reads = 0\n")
        machine.run("up", "--detach")
        machine.run("save", "Staging runs Postgres 16.")
        token = (machine.memory / "token").read_text(encoding="utf-8").strip()
        done = subprocess.run(
            [
                *(FUZZER, "run", f"http://127.0.0.1:{machine.port}/openapi.json"),
                *("--header", f"Authorization: Bearer {token}"),
                *("--checks", "not_a_server_error"),
                *("--exclude-path", "/api/stream"),  # it does not end
                *("--phases", "examples,coverage,fuzzing", "--max-examples", "25", "--seed", "3377"),
                *("--request-timeout", "60", "--no-color", "--workers", "2"),
            ],
            cwd=machine.home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-12_000:] + done.stderr
        print("\n" + "\n".join(done.stdout.splitlines()[-12:]))
        assert "cannot" not in (machine.memory / "logs" / "service.log").read_text(encoding="utf-8")
        assert machine.get("/api/health")["status"] == "ok"
