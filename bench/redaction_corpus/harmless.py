"""Texts with nothing to hide that look as if they had: hashes, ids, lock files, minified code, code about passwords.

Every one must come back unchanged. Kinds marked `held_out` are kept from the half that the patterns were tuned on.
Kinds that are lines of code and prose stand in `harmless.txt`; a text of theirs is one to three of their lines.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

from bench.redaction_corpus.secrets import WORDS, draw

Make = Callable[[Random], str]


@dataclass(frozen=True, slots=True)
class Harmless:
    name: str
    make: Make
    held_out: bool


HARMLESS: list[Harmless] = []


def harmless(*, held_out: bool = False) -> Callable[[Make], Make]:
    def register(make: Make) -> Make:
        HARMLESS.append(Harmless(make.__name__, make, held_out))
        return make

    return register


def lines_of(lines: list[str]) -> Make:
    def fill(match: re.Match[str], rng: Random) -> str:
        return rng.choice(WORDS) if match[1] == "word" else str(rng.randint(2, 4096))

    def make(rng: Random) -> str:
        text = "\n".join(rng.sample(lines, rng.randint(1, 3))).replace("\\n", "\n")
        return re.sub("«(word|n)»", lambda match: fill(match, rng), text)

    return make


def read_lines() -> None:
    text = Path(__file__).with_name("harmless.txt").read_text(encoding="utf-8")
    for name, held_out, body in re.findall(
        r"^\[(\w+)\]( held out)?\n(.+?)(?=\n\[|\Z)", text, re.DOTALL | re.MULTILINE
    ):
        HARMLESS.append(
            Harmless(name, lines_of([line for line in body.splitlines() if line]), bool(held_out))
        )


read_lines()


def some_hex(rng: Random, length: int) -> str:
    return draw("h", length, rng)


def some_uuid(rng: Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def some_base64(rng: Random, length: int) -> str:
    return base64.b64encode(rng.randbytes(length)).decode()


def sha512(rng: Random) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(rng.randbytes(8)).digest()).decode()


# Hashes and ids


@harmless()
def git_log(rng: Random) -> str:
    verbs = ("fix", "add", "drop")
    return "\n".join(
        f"{some_hex(rng, rng.choice((7, 40)))} {rng.choice(verbs)} token refresh" for _ in range(5)
    )


@harmless()
def git_diff(rng: Random) -> str:
    index = f"{some_hex(rng, 11)}..{some_hex(rng, 11)}"
    return f"diff --git a/auth/token.py b/auth/token.py\nindex {index} 100644\n--- a/auth/token.py"


@harmless()
def checksums(rng: Random) -> str:
    lengths = (32, 40, 64, 128)
    return "\n".join(
        f"{some_hex(rng, rng.choice(lengths))}  dist/{rng.choice(WORDS)}.tar.gz" for _ in range(3)
    )


@harmless()
def identifiers(rng: Random) -> str:
    return rng.choice(
        (
            f'{{"id":"msg_01{draw("A", 22, rng)}","type":"message","role":"assistant"}}',
            f'{{"type":"tool_use","id":"toolu_01{draw("A", 22, rng)}","name":"Bash"}}',
            f'"request_id": "req_01{draw("A", 22, rng)}"',
            f"call_{draw('A', 24, rng)} chatcmpl-{draw('A', 29, rng)} resp_{some_hex(rng, 48)}",
            f'"session_id":"{some_uuid(rng)}","prompt_id":"{some_uuid(rng)}"',
            f"pi_{draw('A', 24, rng)} cus_{draw('A', 14, rng)} evt_{draw('A', 24, rng)} price_{draw('A', 24, rng)}",
            f"01{draw('u', 24, rng)} {draw('w', 21, rng)} c{draw('a', 24, rng)} {draw('d', 18, rng)}",
            f"i-0{some_hex(rng, 16)} sg-0{some_hex(rng, 16)} subnet-0{some_hex(rng, 16)} ami-0{some_hex(rng, 16)}",
        )
    )


@harmless()
def uuids(rng: Random) -> str:
    return rng.choice(
        (
            f"GET /v1/sessions/{some_uuid(rng)}/events 200",
            f"transcript: /home/dev/.claude/projects/-home-dev-app/{some_uuid(rng)}.jsonl",
            f"user_id={some_uuid(rng)} tenant={some_uuid(rng)}",
            f'{{"uuid": "{some_uuid(rng)}", "parentUuid": "{some_uuid(rng)}"}}',
        )
    )


@harmless()
def containers(rng: Random) -> str:
    return rng.choice(
        (
            f"FROM python:3.12-slim@sha256:{some_hex(rng, 64)}",
            f"Digest: sha256:{some_hex(rng, 64)}\nStatus: Downloaded newer image for postgres:18",
            f'{some_hex(rng, 12)}   acme/web:1.4.2   "docker-entrypoint.s…"   2 hours ago   Up 2 hours',
        )
    )


@harmless(held_out=True)
def thinking(rng: Random) -> str:
    return json.dumps({"type": "thinking", "thinking": "", "signature": some_base64(rng, 260)})


@harmless(held_out=True)
def assets(rng: Random) -> str:
    return "\n".join(
        f"dist/assets/{rng.choice(WORDS)}-{draw('w', 8, rng)}.js  {rng.randint(1, 900)}.12 kB │ gzip: 4.01 kB"
        for _ in range(4)
    )


# Lock files


@harmless()
def package_lock(rng: Random) -> str:
    names = (
        "js-tokens",
        "jsonwebtoken",
        "csrf-tokens",
        "passport-http-bearer",
        "cookie",
        "secret-stack",
        *WORDS,
    )
    name, version = rng.choice(names), f"{rng.randint(0, 9)}.{rng.randint(0, 20)}.{rng.randint(0, 9)}"
    return (
        f'    "node_modules/{name}": {{\n      "version": "{version}",\n'
        f'      "resolved": "https://npm.acme.test/{name}/-/{name}-{version}.tgz",\n'
        f'      "integrity": "{sha512(rng)}",\n'
        f'      "dependencies": {{ "js-tokens": "^{version}", "token-types": "~{version}" }}\n    }},'
    )


@harmless()
def yarn_lock(rng: Random) -> str:
    name = rng.choice(WORDS)
    return (
        f'{name}@^1.2.3:\n  version "1.2.9"\n'
        f'  resolved "https://npm.acme.test/{name}/-/{name}-1.2.9.tgz#{some_hex(rng, 40)}"\n'
        f"  integrity {sha512(rng)}\n"
    )


@harmless()
def python_lock(rng: Random) -> str:
    return (
        f'[[package]]\nname = "tokenizers"\nversion = "0.22.{rng.randint(0, 9)}"\nfiles = [\n'
        f'    {{file = "tokenizers-0.22.0-cp39-abi3-win_amd64.whl", hash = "sha256:{some_hex(rng, 64)}"}},\n]\n'
        f"secretstorage==3.3.3 --hash=sha256:{some_hex(rng, 64)}\n"
    )


@harmless(held_out=True)
def go_sum(rng: Random) -> str:
    return f"golang.org/x/oauth2 v0.2{rng.randint(0, 9)}.0 h1:{some_base64(rng, 32)}\n"


@harmless(held_out=True)
def cargo_lock(rng: Random) -> str:
    return f'[[package]]\nname = "secrecy"\nversion = "0.10.3"\nchecksum = "{some_hex(rng, 64)}"\n'


@harmless(held_out=True)
def other_locks(rng: Random) -> str:
    return f'sha256 = "sha256-{some_base64(rng, 32)}";\n  resolution: {{integrity: {sha512(rng)}}}\n'


# Encodings


@harmless()
def image(rng: Random) -> str:
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n" + rng.randbytes(rng.randint(90, 900))).decode()
    return f'<img src="data:image/png;base64,{png}" alt="logo">'


@harmless()
def base64_of_words(rng: Random) -> str:
    words = " ".join(rng.choices(WORDS, k=12))
    return f"Content-Transfer-Encoding: base64\n\n{base64.b64encode(words.encode()).decode()}\n"


@harmless()
def public_keys(rng: Random) -> str:
    body = "\n".join(draw("b", 64, rng) for _ in range(6))
    return rng.choice(
        (
            f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA{draw('b', 44, rng)} dev@laptop",
            f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----",
            f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----",
            f"SHA256:{draw('b', 43, rng)} dev@laptop (ED25519)",
        )
    )


@harmless(held_out=True)
def hexdump(rng: Random) -> str:
    return "\n".join(
        f"{row * 16:08x}  {rng.randbytes(8).hex(' ')}  {rng.randbytes(8).hex(' ')}  |....|"
        for row in range(4)
    )


# Code and output


@harmless()
def minified(rng: Random) -> str:
    names = [draw("L", rng.randint(1, 2), rng) for _ in range(40)]
    body = "".join(
        rng.choice(
            (
                f"function {a}(e,t){{return e.token=t,{b}(e.key,t.password)}}",
                f"var {a}={{tokenType:1,key:{b},secret:void 0}};",
                f"{a}.prototype.setPassword=function(e){{this.password=e}},",
                f"const {a}=e=>e.apiKey||{b}.get(e.auth.token);",
                f'switch({a}.type){{case"password":case"token":return {b}(e)}}',
            )
        )
        for a, b in pairwise(names)
    )
    return f"!function(){{{body}}}();\n//# sourceMappingURL=app.{some_hex(rng, 8)}.js.map"


@harmless()
def css(rng: Random) -> str:
    rule = ".{0}-{1}{{color:#{2};content:'\\{3}';margin:{4}px}}"
    return "".join(
        rule.format(
            rng.choice(WORDS), draw("a", 6, rng), some_hex(rng, 6), some_hex(rng, 4), rng.randint(0, 40)
        )
        for _ in range(6)
    )


@harmless()
def log(rng: Random) -> str:
    return (
        f"2026-03-01T12:00:0{rng.randint(0, 9)}Z INFO auth: issued token kid={some_hex(rng, 8)} "
        f"trace_id={some_hex(rng, 32)} span_id={some_hex(rng, 16)} ttl=3600"
    )


@harmless()
def listing(rng: Random) -> str:
    names = ("password", "token", "secret", "api_key")
    return "\n".join(
        f"-rw-r--r-- 1 dev dev {rng.randint(100, 99999):>6} Mar  1 12:00 {rng.choice(names)}_{rng.choice(WORDS)}.py"
        for _ in range(4)
    )
