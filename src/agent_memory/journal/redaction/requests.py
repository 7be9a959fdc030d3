"""Secrets where a request carries them: URLs with passwords, webhooks, Authorization headers, cookies."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator

from agent_memory.journal.redaction.spans import MARKER, Source, Span
from agent_memory.journal.redaction.values import ABOUT_A_SECRET, ATTRIBUTE, is_literal, is_random, is_secret

RANK = 3

NEEDLES = (b"://", b"auth", b"bearer", b"basic", b"cookie")

LONGEST_USERINFO = 600  # characters
SCHEME_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-"
USER_PASSWORD = re.compile(r"""([^\s:/@"'`<>?\#\\]{0,200}):([^\s/"'`<>\\]{1,512})@(?=[\w\[$%{(<-])""")
# In a database's URL a careless password may hold a slash; in a web address what follows a slash is a path.
SLASHED_PASSWORD = re.compile(r"""([^\s:/@"'`<>?\#\\]{0,200}):([^\s"'`<>\\,;]{1,512}?)@(?=[\w\[$%{(<-])""")
WEB = frozenset(("http", "https", "ws", "wss", "ftp", "sftp", "ssh", "git", "file"))
TOKEN_AS_USER = re.compile(r"([A-Za-z0-9_~.-]{16,512})(?::(?:x-oauth-basic)?)?@(?=[\w\[])")
WEBHOOK = re.compile(
    r"""(?:hooks\.slack\.com/(?:services|workflows|triggers)/|discord(?:app)?\.com/api/(?:v\d+/)?webhooks/
        |[\w-]+\.webhook\.office\.com/webhookb2/|[\w.-]+\.logic\.azure\.com(?::443)?/workflows/|outlook\.office\.com/webhook/
        |hooks\.zapier\.com/hooks/catch/\d+/|chat\.googleapis\.com/v1/spaces/[\w-]+/messages\?|open\.feishu\.cn/open-apis/bot/v2/hook/
        |oapi\.dingtalk\.com/robot/send\?|qyapi\.weixin\.qq\.com/cgi-bin/webhook/send\?|maker\.ifttt\.com/trigger/\w+/with/key/)
        (?P<secret>[^\s"'`<>\\)\],;|\x00-\x1f]{8,2048}(?<![.:!?]))""",
    re.VERBOSE,
)

AUTHORIZATION = re.compile(
    r"""orization\\{0,6}["'`]?\]?[ \t]*(?:=>|[:=,])[ \t]*(?:[fFbBrR]{0,2}\\{0,6}["'`])?[ \t]*
        (?:(?P<scheme>bearer|basic|token|apikey|api-key|key|digest|jwt|ssws|geniekey|splunk|bot|oauth|negotiate)
          (?:[ \t]+|=))?""",
    re.VERBOSE | re.IGNORECASE,
)
BEARER = re.compile(r"""bearer\\{0,6}["'`]?[ \t]*[:= ][ \t]*(?:\\{0,6}["'`])?""", re.IGNORECASE)
CREDENTIAL = re.compile(r"""[^\s"'`<>\\,;\x00-\x1f]{3,8192}""")
BASIC = re.compile(r"basic[ \t]+(?P<secret>[A-Za-z0-9+/_-]{8,1024}={0,2})", re.IGNORECASE)

COOKIES = re.compile(
    r"""(?:-?jar)?\\{0,6}["'`]?\]?[ \t]*[:=,][ \t]*(?:\\{0,6}["'`])?(?P<pairs>[^\n"'`\\]{3,8192})"""
)
COOKIE = re.compile(r"(?:^|;)[ \t]*(?P<name>[\w.\-\[\]%$]{1,128})=(?P<value>[^;\s]{1,4096})")
SESSION = re.compile(
    r"sess|sid\b|^sid|auth|token|csrf|xsrf|jwt|login|remember|identity|ticket|secret|key|__host|__secure",
    re.IGNORECASE,
)
TRIVIAL = re.compile(r"(?:\d{1,6}|true|false|yes|no|on|off|deleted|null|none|[a-z]{1,12})$", re.IGNORECASE)


def find(source: Source) -> Iterator[Span]:
    yield from _urls(source)
    yield from _authorizations(source)
    yield from _cookies(source)


def _urls(source: Source) -> Iterator[Span]:
    text = source.text
    for hit in source.hits(b"://"):
        at = hit + 3
        if webhook := WEBHOOK.match(text, at):
            start, end = webhook.span("secret")
            if not is_literal(text[start:end]):
                continue
            yield Span(start, end, "webhook", RANK)
            continue
        if text.find("@", at, at + LONGEST_USERINFO) < 0:
            continue
        head = text[max(0, hit - 32) : hit]
        scheme = head[len(head.rstrip(SCHEME_CHARACTERS)) :].lower()
        match = USER_PASSWORD.match(text, at)
        if not match and scheme and scheme.split("+")[0] not in WEB:
            match = SLASHED_PASSWORD.match(text, at)
        if match:
            if is_literal(match[2]) and not (match[1].isupper() and match[2].isupper()):
                yield Span(*match.span(2), "url-password", RANK)
        elif (token := TOKEN_AS_USER.match(text, at)) and is_random(token[1]):
            yield Span(*token.span(1), "url-credential", RANK)


def _authorizations(source: Source) -> Iterator[Span]:
    text = source.text
    for hit in source.hits(b"auth"):
        header = AUTHORIZATION.match(text, hit + len("auth"))
        if not header or text[hit - 1 : hit].isalnum():
            continue
        credential = CREDENTIAL.match(text, header.end())
        if credential and _is_credential(credential[0], bool(header["scheme"])):
            yield Span(*credential.span(), f"{_kind(header['scheme'])}", RANK)
    for hit in source.hits(b"bearer"):
        if text.startswith(MARKER, hit - len(MARKER)) or not (opening := BEARER.match(text, hit)):
            continue
        credential = CREDENTIAL.match(text, opening.end())
        if credential and is_secret(credential[0], "token", "quoted"):
            yield Span(*credential.span(), "bearer-token", RANK)
    for hit in source.hits(b"basic"):
        basic = BASIC.match(text, hit)
        if basic and _is_user_and_password(basic["secret"]):
            yield Span(*basic.span("secret"), "basic-credentials", RANK)


def _kind(scheme: str | None) -> str:
    scheme = (scheme or "").lower()
    return {"bearer": "bearer-token", "basic": "basic-credentials"}.get(scheme, "authorization")


def _is_credential(value: str, after_scheme: bool) -> bool:  # noqa: FBT001
    if not is_literal(value) or len(value) < 6 or (not after_scheme and ATTRIBUTE.match(value)):
        return False
    if any(character.isdigit() for character in value) or is_random(value):
        return "(" not in value and (after_scheme or len(value) >= 12)
    # Letters alone: "Bearer supersecretvalue", but not "Bearer token" and not a variable.
    return after_scheme and len(value) >= 10 and value.isalpha() and not ABOUT_A_SECRET.search(value)


def _is_user_and_password(encoded: str) -> bool:
    try:
        decoded = b64decode(encoded + "=" * (-len(encoded) % 4))
    except ValueError:
        return False
    return b":" in decoded and decoded.isascii() and decoded.decode().isprintable()


def _cookies(source: Source) -> Iterator[Span]:
    text, done = source.text, 0
    for hit in source.hits(b"cookie"):
        if hit < done:
            continue
        header = COOKIES.match(text, hit + len("cookie"))
        if not header:
            continue
        start = header.start("pairs")
        first_only = text[max(0, hit - 4) : hit].lower() == "set-"
        for pair in COOKIE.finditer(header["pairs"]):
            value = pair["value"]
            telling = bool(SESSION.search(pair["name"]))
            if (
                is_literal(value)
                and not (TRIVIAL.match(value) and not (telling and len(value) > 3))
                and (telling or is_random(value))
            ):
                yield Span(start + pair.start("value"), start + pair.end("value"), "cookie", RANK)
            if first_only:
                break
        done = header.end()
