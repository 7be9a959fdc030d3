"""Clients that npm brings: installed once, into a cache folder that outlives the test run."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

INSTALL_SECONDS = 600.0
"""For 175 MB over a slow line."""
# Read here, once: a test moves HOME and clears our variables.
CACHE = Path(
    os.environ.get("AGENT_MEMORY_TEST_CACHE")
    or Path(pwd.getpwuid(os.getuid()).pw_dir, ".cache", "agent-memory-tests")
)


class NotAvailableError(Exception):
    """The client cannot be had on this machine; the message says why."""


def installed(package: str, version: str, megabytes: int) -> Path:
    """The folder `node_modules` that holds `package` and what it needs. Raises NotAvailableError.

    Scripts of the packages are not run.
    """
    folder = CACHE / f"{package.rpartition('/')[2]}-{version}"
    modules = folder / "node_modules"
    if not modules.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not modules.exists():
                _install(f"{package}@{version}", folder, megabytes)
    return modules


def _install(package: str, folder: Path, megabytes: int) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NotAvailableError("npm is not installed")
    print(f"Installing {package} into {folder} ({megabytes} MB, once) …", file=sys.stderr, flush=True)
    # Beside the target, then renamed: an install that is cut short is never taken for a whole one.
    draft = Path(tempfile.mkdtemp(prefix="installing-", dir=folder.parent))
    try:
        done = subprocess.run(
            [npm, "install", "--prefix", draft, "--no-audit", "--no-fund", "--ignore-scripts", package],
            cwd=draft,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        if done.returncode:
            raise NotAvailableError(f"npm could not bring {package}: {done.stderr.strip()[-500:]}")
        draft.rename(folder)
    except subprocess.TimeoutExpired as error:
        raise NotAvailableError(f"npm did not bring {package} within {INSTALL_SECONDS:.0f} s") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
