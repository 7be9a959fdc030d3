"""A tool's structured result as text."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from agent_memory.agents.claude_code import output

PICTURE = base64.b64encode(bytes(12_000)).decode()


@pytest.mark.parametrize(
    ("response", "text"),
    [
        ("as it is", "as it is"),
        ({"stdout": "out", "stderr": "", "interrupted": False}, "out"),
        ({"stdout": "", "stderr": "err"}, "err"),
        ({"stdout": "", "stderr": "", "backgroundTaskId": "b7"}, "[running in the background as b7]"),
        ({"type": "text", "file": {"filePath": "/a", "content": "line\n"}}, "line\n"),
        ({"mode": "content", "filenames": [], "content": "a.py:1:x", "numFiles": 0}, "a.py:1:x"),
        ({"filenames": ["/a.py", "/b.py"], "numFiles": 2, "truncated": False}, "/a.py\n/b.py"),
        (
            {"bytes": 9, "code": 200, "url": "https://x.example", "result": "The page says no."},
            "The page says no.",
        ),
        (
            {"isAsync": True, "status": "async_launched", "agentId": "a1"},
            "[running in the background as agent a1]",
        ),
        ({"status": "completed", "agentId": "a1", "content": [{"type": "text", "text": "Two."}]}, "Two."),
        ({"questions": [{"question": "Which?"}], "answers": {"Which?": "Both"}}, '"Which?"="Both"'),
        ([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], "one\ntwo"),
    ],
)
def test_a_known_shape_gives_its_text(response: Any, text: str) -> None:
    assert output.whole(response) == output.of_known_shape(response) == text


def test_an_edit_is_told_by_its_changes_and_never_by_the_whole_file() -> None:
    hunk = {"oldStart": 7, "oldLines": 2, "newStart": 7, "newLines": 3, "lines": [" a", "-b", "+c", "+d"]}
    response = {
        "filePath": "/p/x.py",
        "originalFile": "SECRET REST",
        "structuredPatch": [hunk],
        "newString": "c",
    }
    assert output.whole(response) == "--- /p/x.py\n+++ /p/x.py\n@@ -7,2 +7,3 @@\n a\n-b\n+c\n+d"


def test_a_new_file_is_told_by_its_name_since_the_input_has_its_content() -> None:
    response: dict[str, Any] = {
        "type": "create",
        "filePath": "/p/x.py",
        "content": "x",
        "structuredPatch": [],
        "originalFile": None,
    }
    assert output.whole(response) == "Created /p/x.py"
    assert output.whole({**response, "type": "update"}) == "No change to /p/x.py"


def test_a_result_of_an_unknown_shape_is_compact_json() -> None:
    response = {"retrieval_status": "success", "task": {"id": 7, "ü": None}}
    assert output.of_known_shape(response) is None
    text = output.whole(response)
    assert text == '{"retrieval_status":"success","task":{"id":7,"ü":null}}'


def test_no_result_is_none() -> None:
    assert output.whole(None) is None


@pytest.mark.parametrize(
    "response",
    [
        {"stdout": PICTURE, "stderr": "", "isImage": True},
        {"type": "image", "file": {"base64": PICTURE, "type": "image/png", "originalSize": 12000}},
        [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}],
        [{"type": "image", "data": PICTURE, "mimeType": "image/png"}],
    ],
)
def test_an_image_is_named_by_its_size(response: Any) -> None:
    assert output.whole(response) == "[image, 12 kB]"


def test_an_image_deep_within_an_unknown_shape_is_not_stored_either() -> None:
    shot = {"type": "image", "source": {"type": "base64", "data": PICTURE}}
    text = output.whole({"pages": [{"shot": shot, "base64": PICTURE}], "title": "x"})
    assert text is not None
    assert json.loads(text) == {
        "pages": [{"shot": {"type": "image", "source": "[image, 12 kB]"}, "base64": "[image, 12 kB]"}],
        "title": "x",
    }


def test_text_beside_an_image_stays() -> None:
    blocks = [{"type": "text", "text": "Shot:"}, {"type": "image", "data": PICTURE}]
    assert output.whole(blocks) == "Shot:\n[image, 12 kB]"


@pytest.mark.parametrize("odd", [2**70, -(2**63) - 1, "half \ud83d"])
def test_what_one_json_writer_refuses_is_text_all_the_same(odd: object) -> None:
    assert output.whole(odd if isinstance(odd, int) else {"odd": odd})
    assert output.of_blocks([{"type": "new", "odd": odd}])
