"""Secrets go, everything else stays. Every secret here is made up, and put together when the test runs."""

from __future__ import annotations

import base64
import json
import time
from random import Random

import pytest
from bench.redaction_corpus.secrets import KINDS, Kind, draw, make, pem

from agent_memory.journal.redaction import redact, redact_value

RNG = Random(5)
TOKEN = "ghp_" + draw("A", 36, RNG)
PASSWORD = "Falcon" + "!7291"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.needs_name], ids=lambda kind: kind.name)
def test_a_secret_that_gives_itself_away_needs_no_name(kind: Kind) -> None:
    secret = make(kind, Random(11))
    redacted = redact(f"I pasted {secret} here")
    assert secret.removeprefix(kind.public) not in redacted
    assert redacted.startswith("I pasted ")
    assert redacted.endswith("] here")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"export DB_PASSWORD={PASSWORD}", "export DB_PASSWORD=[REDACTED:password]"),
        (f"password: {PASSWORD}\n", "password: [REDACTED:password]\n"),
        (f'{{"password": "{PASSWORD}"}}', '{"password": "[REDACTED:password]"}'),
        (f'{{\\"password\\": \\"{PASSWORD}\\"}}', '{\\"password\\": \\"[REDACTED:password]\\"}'),
        (f"+db_password = '{PASSWORD}'", "+db_password = '[REDACTED:password]'"),
        (f"mysql --password {PASSWORD} app", "mysql --password [REDACTED:password] app"),
        (f"mysql -u root -p{PASSWORD} app", "mysql -u root -p[REDACTED:password] app"),
        (f"curl -u admin:{PASSWORD} https://x.test", "curl -u admin:[REDACTED:password] https://x.test"),
        (f"GET /?token={TOKEN[4:]}&page=2", "GET /?token=[REDACTED:token]&page=2"),
        (
            f"-d 'user=bob&password={PASSWORD}&remember=1'",
            "-d 'user=bob&password=[REDACTED:password]&remember=1'",
        ),
        (f"<password>{PASSWORD}</password>", "<password>[REDACTED:password]</password>"),
        (
            f"Server=db;Password={PASSWORD};Encrypt=true",
            "Server=db;Password=[REDACTED:password];Encrypt=true",
        ),
        (
            f"postgres://app:{PASSWORD}@db.test:5432/app",
            "postgres://app:[REDACTED:url-password]@db.test:5432/app",
        ),
        (f"X-Api-Key: {TOKEN[4:]}", "X-Api-Key: [REDACTED:api-key]"),
        (f"Authorization: Bearer {TOKEN[4:]}", "Authorization: Bearer [REDACTED:bearer-token]"),
        (f"GITHUB_TOKEN={TOKEN}", "GITHUB_TOKEN=[REDACTED:github-token]"),
        (f"CLOUDFLARE_API_TOKEN={TOKEN[4:]}", "CLOUDFLARE_API_TOKEN=[REDACTED:cloudflare-token]"),
        (f"Set-Cookie: sid={TOKEN[4:]}; Path=/", "Set-Cookie: sid=[REDACTED:cookie]; Path=/"),
        (f"Cookie: theme=dark; sessionid={TOKEN[4:]}", "Cookie: theme=dark; sessionid=[REDACTED:cookie]"),
        (f"- name: API_KEY\n  value: {TOKEN[4:]}", "- name: API_KEY\n  value: [REDACTED:api-key]"),
        (f"ENV API_KEY {TOKEN[4:]}\n", "ENV API_KEY [REDACTED:api-key]\n"),
        (f'key = "{TOKEN[:12]}" + "{TOKEN[12:]}"', 'key = "[REDACTED:github-token]"'),
        (f"export T={TOKEN[:12]}\\\n{TOKEN[12:]}\n", "export T=[REDACTED:github-token]\n"),
        (f"ok\\n{TOKEN}\\n", "ok\\n[REDACTED:github-token]\\n"),
    ],
)
def test_the_value_goes_and_all_around_it_stays(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "token = get_token()",
        "password: str",
        "if token is None: return",
        'secret_key = os.environ["X"]',
        "PASSWORD=$PASSWORD",
        "PASSWORD=${PASSWORD}",
        "API_KEY=<your-api-key>",
        "token count: 512",
        "max_tokens=4096",
        "key: value pairs, one a line",
        "client = Client(api_key=api_key, password=password, token=self.token)",
        'headers = {"Authorization": f"Bearer {token}"}',
        "commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "session 550e8400-e29b-41d4-a716-446655440000",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        '"id": "toolu_01A09q90qw90lq917835lq9", "message": "msg_01XFDUDYJgAACzvnptvVoYEL"',
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
        "/usr/lib/python3.11/site-packages/secretstorage/password_token_key.py",
        "tests/unit/test_tokens.py::test_password_reset_token_expires_after_24h PASSED",
        ".token.keyword { color: #07a }",
        "PASS src/password.test.ts\npass: 1200\nfail: 0",
        "mysql -u root -p app < dump.sql",
        "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBa\n-----END CERTIFICATE-----",
        'START = b"-----BEGIN OPENSSH PRIVATE KEY-----"',
        "arn:aws:secretsmanager:*:*:secret:aws/ssm/3p/*",
        "http://localhost:3000/@scope/package",
        "the --password option takes a value",
    ],
)
def test_ordinary_text_stays_whole(text: str) -> None:
    assert redact(text) == text


def test_a_private_block_goes_whole_with_what_is_nested_in_it() -> None:
    assert redact("a <private>b <private>c</private> d</private> e") == "a [REDACTED:private] e"
    assert redact("a <PRIVATE>\nb\n</Private> e") == "a [REDACTED:private] e"


def test_a_private_block_that_is_never_closed_reaches_to_the_end() -> None:
    assert redact("a <private>b\nc") == "a [REDACTED:private]"
    assert redact("a <private>b <private>c</private> d") == "a [REDACTED:private]"


def test_a_private_blocks_end_alone_is_text() -> None:
    assert redact("see </private> in the manual") == "see </private> in the manual"


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\\n", "\\\\n", "\n+", "\n    ", "\n     2→"])
def test_a_private_key_goes_whole_however_its_lines_end(newline: str) -> None:
    assert redact(f"a: {pem(RNG).replace(chr(10), newline)} b") == "a: [REDACTED:private-key] b"


def test_a_private_key_without_its_end_or_its_beginning_goes_too() -> None:
    lines = pem(RNG).split("\n")
    assert (
        redact("\n".join(["$ cat", *lines[:4], "", "[truncated]"]))
        == "$ cat\n[REDACTED:private-key]\n\n[truncated]"
    )
    assert redact("\n".join(["…", *lines[2:], "$ ls"])) == "…\n[REDACTED:private-key]\n$ ls"


def test_a_secret_in_base64_goes_with_all_of_it() -> None:
    encoded = base64.b64encode(f"machine: x\npassword: {PASSWORD}\n".encode()).decode()
    assert redact(f"echo {encoded} | base64 -d") == "echo [REDACTED:base64] | base64 -d"


def test_the_data_of_a_kubernetes_secret_goes_whatever_its_keys_are_called() -> None:
    manifest = "kind: Secret\ndata:\n  {}: {}\n  b: |\n    {}\n---\nkind: ConfigMap\ndata:\n  c: plain\n"
    value = base64.b64encode(b"anything").decode()
    expected = manifest.format("a", *["[REDACTED:kubernetes-secret]"] * 2)
    assert redact(manifest.format("a", value, "two words")) == expected


def test_a_marker_names_the_kind_and_nothing_of_the_secret() -> None:
    for kind in KINDS:
        secret = make(kind, Random(3))
        marker = (
            redact(f'{kind.variables[0]}="{secret}"').removeprefix(f'{kind.variables[0]}="').removesuffix('"')
        )
        assert marker.removeprefix(kind.public).startswith("[REDACTED:"), kind
        assert marker.endswith("]"), kind


def test_keys_that_name_secrets_give_their_strings_away() -> None:
    given = {
        "password": "p1",
        "api_key": "a b",
        "clientSecret": "abc",
        "token": ["t1", "t2"],
        "AUTH_TOKEN": "q",
    }
    assert redact_value(given) == {
        "password": "[REDACTED:password]",
        "api_key": "[REDACTED:api-key]",
        "clientSecret": "[REDACTED:secret]",
        "token": ["[REDACTED:token]", "[REDACTED:token]"],
        "AUTH_TOKEN": "[REDACTED:token]",
    }


def test_a_keys_reference_number_or_object_is_looked_into_and_not_given_away() -> None:
    given = {
        "token": None,
        "max_tokens": 4096,
        "password": True,
        "secret": {"name": "db", "n": 1.5},
        "api_key": "$API_KEY",
        "token_type": "bearer",
        "next_token": "abc123def456ghi789",
        "key": "ABC-123",
        "signature": base64.b64encode(RNG.randbytes(90)).decode(),
    }
    assert redact_value(given) == given


def test_a_name_beside_a_value_gives_it_away() -> None:
    assert redact_value([{"name": "DB_PASSWORD", "value": "p1"}, {"name": "TZ", "value": "UTC"}]) == [
        {"name": "DB_PASSWORD", "value": "[REDACTED:password]"},
        {"name": "TZ", "value": "UTC"},
    ]


def test_headers_keep_their_scheme_and_their_harmless_cookies() -> None:
    given = {
        "Authorization": f"Bearer {TOKEN[4:]}",
        "authorization": "Bearer abcdef",
        "Cookie": f"theme=dark; sid={TOKEN[4:]}",
        "Accept": "*/*",
        "headers": [{"name": "Set-Cookie", "value": f"sid={TOKEN[4:]}; Path=/"}],
    }
    assert redact_value(given) == {
        "Authorization": "Bearer [REDACTED:bearer-token]",
        "authorization": "Bearer [REDACTED:authorization]",
        "Cookie": "theme=dark; sid=[REDACTED:cookie]",
        "Accept": "*/*",
        "headers": [{"name": "Set-Cookie", "value": "sid=[REDACTED:cookie]; Path=/"}],
    }


def test_a_secret_in_a_key_goes_too() -> None:
    assert redact_value({TOKEN: 1}) == {"[REDACTED:github-token]": 1}


def test_the_value_given_is_not_changed() -> None:
    given = {"a": [{"password": PASSWORD}], "b": TOKEN}
    before = json.dumps(given)
    redact_value(given)
    assert json.dumps(given) == before


def test_json_of_any_depth_is_walked() -> None:
    deep: object = TOKEN
    for _ in range(50_000):
        deep = [deep]
    redacted = redact_value(deep)
    for _ in range(50_000):
        (redacted,) = redacted
    assert redacted == "[REDACTED:github-token]"


def test_characters_outside_latin_move_nothing() -> None:
    assert redact(f"密码 İstanbul 🔑 password={PASSWORD} ünd so weiter") == (
        "密码 İstanbul 🔑 password=[REDACTED:password] ünd so weiter"
    )


@pytest.mark.parametrize(
    "piece",
    [
        "a", " ", "\n", "-----BEGIN", "-----BEGIN RSA PRIVATE KEY-----", "-----END PRIVATE KEY-----", "password=",
        'password="', "password:", "token=", "sk-ant-", "xoxb-", "://a:", "<private>", "curl -u a", "mysql -p",
        "cookie: a=b; ", "kind: Secret\ndata:\n  a: b\n", '"a"\n', "\\\n", "eyJ", "QUJD", "[REDACTED:",
        "fm2_" + "A" * 50 + ",", "&a=",
    ],
)  # fmt: skip
def test_a_megabyte_of_anything_takes_seconds(piece: str) -> None:
    text = (piece * (1_000_000 // len(piece) + 1))[:1_000_000]
    started = time.process_time()
    redact(text)
    # 0.04 to 6 s are usual; what grows with the square of the length took minutes.
    assert time.process_time() - started < 30
