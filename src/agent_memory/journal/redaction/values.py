"""Is this the secret itself, or code, a reference, a placeholder, a word about it?

`password = get_password()`, `${TOKEN}`, `<your-api-key>`, `password: str` and `token: 512` are none; `hunter2` is one.
"""

from __future__ import annotations

import re
from agent_memory.journal.redaction.literals import Place
from agent_memory.journal.redaction.names import Weight
from agent_memory.journal.redaction.spans import MARKER

REFERENCE = re.compile(
    r"""\$(?:[A-Za-z_]\w*(?:$|\[|->|::|\.)|\d$|[({].*) | [$\#@%]?\{.*\}$ | \{[{%].* | %(?:[sdr]|\(\w+\)[sdr]|\w+%)$ | @\w+@$ | <[^<>]*>$ | \[[\w .-]*\]$ | &(?:lt|\#x?3[Cc]);
      | !(?:vault|Ref|Sub|GetAtt|ImportValue|secret|env_var|env|include)\b
      | (?:process\.env|os\.environ|os\.getenv|env|secrets|vars?|local|data|module|self|this|config|settings|args|req|request
          |ctx|props|state|params?|options?|opts|inputs?|github|event|context)[.\[(]
      | (?:op|vault|ref|ssm|aws-ssm|secretsmanager|keyring|env|file|https?|git)(?:\+\w+)?:
      | arn:|projects/|ENC\[|enc:""",
    re.VERBOSE | re.DOTALL,
)
YAML_REFERENCE = re.compile(r"[&*][A-Za-z_][\w-]*$")
PLACEHOLDER = re.compile(
    r"""[*xX•.\-_\#?=\s]+$|.*(?:\*\*\*|xxxx|XXXX|•••|\.\.\.|…)|.*[<{]\w[\w .-]*[}>]
      |.*\b(?:your|my)[-_ ][\w -]{0,40}?(?:key|token|secret|password|pass|pw|value|api|id|here)\b
      |(?:your|insert|replace|enter|put|add|paste)[-_ ]
      |.*[-_ ]here$|(?:to[-_]?do|tbd|n/?a|none|null|nil|undefined|void|true|false|yes|no|on|off|empty|unset|redacted|removed|hidden|masked|placeholder|dummy|changeme|change[-_]me)$""",
    re.VERBOSE | re.IGNORECASE,
)
LONGEST_PLACEHOLDER = 128  # characters
ABOUT_A_SECRET = re.compile(
    r"(?i:password|passwd|passphrase|secret|token|credential|apikey)"
    r"|(?<![A-Za-z])(?i:pass|pwd|key|auth|bearer|api)(?![a-z])|(?<=[a-z])(?:Pass|Pwd|Key|Auth)(?![a-z])"
)
WORD_CHAIN = re.compile(r"[A-Za-z_][A-Za-z_]*(?:[-_./:\s][A-Za-z_]+)*\d{0,3}$")
CAMEL_CASE = re.compile(r"[A-Z]?[a-z]*(?:[A-Z][a-z]+)*[A-Z]{0,4}|[A-Za-z]+(?:_[A-Za-z]+)+")
IDENTIFIER = re.compile(r"[A-Za-z_]\w*$")
ATTRIBUTE = re.compile(r"[A-Za-z_]\w*(?:(?:\.|::|->|\?\.)[A-Za-z_]\w*)+$")
CALL = re.compile(
    r"(?:function|async|await|new|return|lambda|yield|typeof|void|class|fn|func)\b|\w*=>|\(|[A-Za-z_][\w.:]*!?[(\[][\w.,\"'\s*:=\[\]()/&-]*;?$"
)
PATH = re.compile(
    r"(?:~|\.{1,2})?/[\w.@~-]+(?:/[\w.@~+-]*)*$|[A-Za-z]:\\|[\w.-]+\.(?:pem|key|crt|txt|json|ya?ml|env|py|ts|js|toml|md)$"
)
NUMBER = re.compile(
    r"[+-]?[\d_]+(?:[.,:]\d+)*(?:e[+-]?\d+)?(?:ms|s|m|h|d|k|kb|mb|gb|px|em|rem|%)?$", re.IGNORECASE
)
VERSION = re.compile(r"(?:[\^~<>=!v ]*)\d+(?:\.(?:\d+|x|\*))+(?:[-+][\w.]+)?$")
TYPE = re.compile(
    r"(?:[iuf](?:8|16|32|64|128)|u?int\d*|float\d*|bytes\d*|u?short|long|double|str|string|text|bool(?:ean)?|any|object|unknown|never|"
    r"number|var|varchar|char|uuid|date|datetime|password|optional|required|nullable|secretstr|none|null|nil)[;,?!)\]|&]*$",
    re.IGNORECASE,
)
COMMON = frozenset(
    """string text required optional hidden basic default enabled disabled invalid missing empty wrong field input outlined
    none null true false bearer plain md5 sha256 bcrypt ldap local object array number boolean credentials account
    accepted allowed auto never always manual current new old change reset forgot confirm repeat show hide email
    username user login the a an is was and or to for of in it that this not with must can will should option flag
    argument value if from when expired failed valid incorrect rejected only used given set unset stored sent read needs
    takes one two see policy prompt prompts required: required, option, flag, value, argument, inherit write read
    keyword identifier""".split()
)
MESSAGE = re.compile(
    r"\b(?:password|passwort|must|enter|your|required|invalid|please|field|forgot|reset|confirm|characters|should|cannot|can't|"
    r"change|use|is|are|at least|the|mot de passe)\b",
    re.IGNORECASE,
)
SYMBOL = re.compile(r"[!@#$%^*+=~]")
LETTERS = re.compile(r"[A-Za-z]")
DIGIT = re.compile(r"\d")


def is_secret(value: str, weight: Weight, place: Place, *, is_variable: bool = False) -> bool:
    """Whether a value in a text is the secret that its name speaks of. `is_variable`: the name is a SHELL_VARIABLE."""
    if len(value) < 3 or value[0].isspace() or not is_literal(value):
        return False
    if VERSION.match(value) or (PATH.match(value) and not (len(value) >= 32 and is_random(value))):
        return False
    if place != "quoted" and (value[0] in "{[(" or CALL.match(value) or TYPE.match(value)):
        return False
    if place == "loose" and YAML_REFERENCE.match(value):
        return False
    if place != "quoted" and ATTRIBUTE.match(value):
        # `password=settings.db.password` is code, `PASSWORD=m0nkey.Silver` is none.
        if place != "assigned" or not DIGIT.search(value) or ABOUT_A_SECRET.search(value):
            return False
    if weight == "password":
        return _is_password(value, place, is_variable=is_variable)
    return _is_opaque(value, weight, place, is_variable=is_variable)


def is_literal(value: str) -> bool:
    """Neither empty, nor a reference (`$X`, `{{ x }}`, `process.env.X`), nor a placeholder, nor removed already."""
    if not value or MARKER in value or REFERENCE.match(value):
        return False
    return len(value) > LONGEST_PLACEHOLDER or not PLACEHOLDER.match(value)


def _is_password(value: str, place: Place, *, is_variable: bool) -> bool:
    digit = bool(DIGIT.search(value))
    if re.search(r"\s", value):
        # "Enter your password" is a label; "four random common words" is a pass phrase.
        return (
            place == "quoted"
            and not MESSAGE.search(value)
            and (digit or value.islower() and value.count(" ") >= 2)
        )
    if NUMBER.match(value):
        return len(value) >= 4 and value.isdigit() and place != "argument"
    if value.lower() in COMMON or re.match(r"(?:required|nullable|sometimes|string)\|", value):
        return False
    about = ABOUT_A_SECRET.search(value)
    if digit or SYMBOL.search(value):
        if (
            about
            and re.fullmatch(r"(?:[A-Za-z]+[-_./: ])*[A-Za-z]*\d{0,2}", value)
            and place in ("loose", "argument")
        ):
            return False
        if place == "argument":
            return digit and len(value) >= 5
        if place == "loose" and not digit:
            return len(value) >= 6 and not re.fullmatch(r"[A-Z]\w*!", value)
        return len(value) >= (5 if place == "loose" else 3)
    # Letters alone: a poor password, or an identifier, a type, a label, a word of a sentence.
    if about and not (value.islower() and value.isalpha() and len(value) >= 12 and place != "loose"):
        return False
    if place == "assigned":
        return (
            is_variable
            or (value.islower() and len(value) >= 4)
            or (len(value) >= 8 and not CAMEL_CASE.fullmatch(value))
        )
    if place == "quoted":
        return (
            len(value) >= 4
            and not re.fullmatch(r"[A-Z][a-zà-ÿ]+", value)
            and not re.fullmatch(r"[A-Z][A-Z_]+", value)
        )
    return False


def _is_opaque(value: str, weight: Weight, place: Place, *, is_variable: bool) -> bool:
    if re.search(r"\s", value) or NUMBER.match(value) or "://" in value or TYPE.match(value):
        return False
    length = len(value)
    if weight == "key":
        return length >= 16 and is_random(value) and not ATTRIBUTE.match(value)
    if DIGIT.search(value) and LETTERS.search(value):
        if re.fullmatch(r"[A-Za-z]+(?:[-_.: ][A-Za-z]+)*[-_.: ]?\d{0,4}", value) and ABOUT_A_SECRET.search(
            value
        ):
            return weight == "secret" and place in ("assigned", "quoted") and length >= 8
        if place in ("loose", "argument"):
            return (
                length >= 8
                if place == "loose" and not IDENTIFIER.match(value)
                else length >= 10 and is_random(value)
            )
        return length >= 8 or (length >= 6 and is_variable)
    if weight == "secret" and place in ("assigned", "quoted"):
        return length >= 8 and value.lower() not in COMMON and (is_variable or not ABOUT_A_SECRET.search(value))
    if place == "assigned" and not ABOUT_A_SECRET.search(value):
        return length >= 12 and (is_variable or not (CAMEL_CASE.fullmatch(value) or WORD_CHAIN.match(value)))
    return place != "argument" and length >= 20 and is_random(value) and not WORD_CHAIN.match(value)


def is_random(value: str) -> bool:
    """At least three changes between lower case, upper case and digits that no camelCase or word-12 would have."""
    if len(set(value)) < 6:
        return False
    digits = sum(map(str.isdigit, value))
    if digits >= 3 and digits < len(value):
        return len(re.findall(r"\d[A-Za-z]|[A-Za-z]\d", value)) >= 3
    return (
        len(re.findall(r"[A-Z]{2}[a-z]|[a-z][A-Z](?![a-z]{2})|\d[a-z]|[a-z]\d", value))
        >= 2 + len(value) // 24
    )
