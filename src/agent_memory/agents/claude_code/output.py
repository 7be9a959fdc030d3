"""A tool's result as text, from the structured form that hooks (`tool_response`) and transcripts share
(`toolUseResult`). Told by its shape and not by the tool's name: names change between versions (`Task` became
`Agent`), shapes less."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import orjson


def whole(response: Any) -> str | None:
    """The text of any result. Compact JSON where its shape is not known; None where there is no result."""
    if response is None:
        return None
    text = of_known_shape(response)
    if text is not None:
        return text
    return _compact(_without_images(response))


def of_known_shape(response: Any) -> str | None:
    """The text of a result of a known shape, or None. What the call's input says already is not said again,
    such as a written file's content, and an edited file is told by its changes."""
    if isinstance(response, str):
        return response
    if isinstance(response, list):
        return of_blocks(response)
    if not isinstance(response, dict):
        return None
    if isinstance(response.get("stdout"), str):
        return _shell(response)
    if isinstance(response.get("structuredPatch"), list) and "filePath" in response:
        return _patch(response)
    if isinstance(response.get("file"), dict):
        return _file(response)
    if response.get("status") == "async_launched":
        return f"[running in the background as agent {response.get('agentId')}]"
    if isinstance(response.get("questions"), list) and isinstance(response.get("answers"), dict):
        return ". ".join(f'"{question}"="{answer}"' for question, answer in response["answers"].items())
    if isinstance(response.get("content"), list) and isinstance(response.get("agentId"), str):
        return of_blocks(response["content"])
    if isinstance(response.get("filenames"), list):
        return _search(response)
    if isinstance(response.get("result"), str) and "url" in response:
        return str(response["result"])
    return None


def of_blocks(blocks: Sequence[Any]) -> str:
    """The text of content blocks as the model's API and MCP have them."""
    return "\n".join(filter(None, map(_block, blocks)))


def image(data: Any) -> str:
    """What stands for an image (base64) in a text."""
    size = len(data) * 3 // 4 if isinstance(data, str) else 0
    return f"[image, {round(size / 1000)} kB]"


def _block(block: Any) -> str:
    if isinstance(block, str):
        return block
    if not isinstance(block, dict):
        return str(block)
    kind = block.get("type")
    if kind == "text":
        return str(block.get("text", ""))
    if kind == "image":
        source = block.get("source")
        return image(source.get("data") if isinstance(source, dict) else block.get("data"))
    if kind == "tool_reference":
        return str(block.get("tool_name", ""))
    return _compact(_without_images(block))


def _compact(value: Any) -> str:
    """As JSON, also where a number has more than 64 bits or a text holds half a surrogate pair."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=str).decode()
    except TypeError:
        return json.dumps(value, separators=(",", ":"), default=str)


def _shell(response: dict[str, Any]) -> str:
    if response.get("isImage"):
        return image(response["stdout"])
    printed = [response["stdout"], response.get("stderr")]
    if response.get("backgroundTaskId"):
        printed.append(f"[running in the background as {response['backgroundTaskId']}]")
    return "\n".join(part for part in printed if isinstance(part, str) and part)


def _patch(response: dict[str, Any]) -> str:
    path = response["filePath"]
    hunks = [hunk for hunk in response["structuredPatch"] if isinstance(hunk, dict)]
    if not hunks:
        created = response.get("type") == "create"
        return f"{'Created' if created else 'No change to'} {path}"
    lines = [f"--- {path}", f"+++ {path}"]
    for hunk in hunks:
        old, new = (f"{hunk.get(f'{side}Start')},{hunk.get(f'{side}Lines')}" for side in ("old", "new"))
        lines.append(f"@@ -{old} +{new} @@")
        lines += [str(line) for line in hunk.get("lines", [])]
    return "\n".join(lines)


def _file(response: dict[str, Any]) -> str | None:
    file = response["file"]
    if isinstance(file.get("content"), str):
        return str(file["content"])
    if isinstance(file.get("base64"), str):
        return image(file["base64"]) if response.get("type") == "image" else f"[{response.get('type')} file]"
    return None


def _search(response: dict[str, Any]) -> str:
    if isinstance(response.get("content"), str):
        return str(response["content"])
    return "\n".join(str(name) for name in response["filenames"])


def _without_images(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_images(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") in ("image", "base64") and isinstance(value.get("data"), str):
        return image(value["data"])
    return {
        key: image(item) if key == "base64" and isinstance(item, str) else _without_images(item)
        for key, item in value.items()
    }
