"""Is this the secret itself, or code, a reference, a placeholder, a word about it?

`password = get_password()`, `${TOKEN}`, `<your-api-key>`, `password: str` and `token: 512` are none; `hunter2` is one.
"""

from __future__ import annotations

import re

from agent_memory.journal.redaction.literals import Place
from agent_memory.journal.redaction.names import Weight, words
from agent_memory.journal.redaction.spans import MARKER

# What stands for a value that is elsewhere.
REFERENCE = re.compile(
    r"""\$(?:[A-Za-z_]\w*(?:$|\[|->|::|\.)|\d$|[({].*)
      | [$\#@%]?\{.*\}$ | \{[{%].* | %(?:[sdr]|\(\w+\)[sdr]|\w+%)$ | @\w+@$
      | <[^<>]*>$ | &(?:lt|\#x?3[Cc]); | \[[\w .-]*\]$
      | !(?:vault|Ref|Sub|GetAtt|ImportValue|secret|env_var|env|include)\b
      | (?:process\.env|os\.environ|os\.getenv|env|secrets|vars?|local|data|module|self|this|config|settings|args|req
          |request|ctx|props|state|params?|options?|opts|inputs?|github|event|context)[.\[(]
      | (?:op|vault|ref|ssm|aws-ssm|secretsmanager|keyring|env|file|https?|git)(?:\+\w+)?:
      | arn:|projects/|ENC\[|enc:""",
    re.VERBOSE | re.DOTALL,
)
YAML_REFERENCE = re.compile(r"[&*][A-Za-z_][\w-]*$")
PLACEHOLDER = re.compile(
    r"""[*xX•.\-_\#?=\s]+$ | .*(?:\*\*\*|xxxx|XXXX|•••|\.\.\.|…) | .*[<{]\w[\w .-]*[}>]
      | .*\b(?:your|my)[-_ ][\w -]{0,40}?(?:key|token|secret|password|pass|pw|value|api|id|here)\b
      | (?:your|insert|replace|enter|put|add|paste)[-_ ] | .*[-_ ]here$
      | (?:to[-_]?do|tbd|n/?a|none|null|nil|undefined|void|true|false|yes|no|on|off|empty|unset|redacted|removed|hidden
          |masked|placeholder|dummy|changeme|change[-_]me)$""",
    re.VERBOSE | re.IGNORECASE,
)
LONGEST_PLACEHOLDER = 128  # characters

# Code, types, places and numbers.
CALL = re.compile(
    r"(?:function|async|await|new|return|lambda|yield|typeof|void|class|fn|func)\b|\w*=>"
    r"|[A-Za-z_][\w.:]*!?[(\[][\w.,\"'\s*:=\[\]()/&-]*;?$"
)
ATTRIBUTE = re.compile(r"[A-Za-z_]\w*(?:(?:\.|::|->|\?\.)[A-Za-z_]\w*)+$")
LETTER_FOR_LETTER = re.compile(r"[A-Za-z]\d[A-Za-z]")  # m0nkey
IDENTIFIER = re.compile(r"[A-Za-z_]\w*$")
OPEN_BRACKET = re.compile(r"[{\[]|\((?!.*[@^%$#!&])")
TYPE = re.compile(
    r"(?:[iuf](?:8|16|32|64|128)|u?int\d*|float\d*|bytes\d*|u?short|long|double|str|string|text|bool(?:ean)?|any|object"
    r"|unknown|never|number|var|varchar|char|uuid|date|datetime|password|optional|required|nullable|secretstr|none|null"
    r"|nil)[;,?!)\]|&]*$",
    re.IGNORECASE,
)
PATH = re.compile(
    r"(?:~|\.{1,2})?/[\w.@~-]+(?:/[\w.@~+-]*)*$|[A-Za-z]:\\"
    r"|[\w.-]+\.(?:pem|key|crt|txt|json|ya?ml|env|py|ts|js|toml|md)$"
)
NUMBER = re.compile(
    r"[+-]?[\d_]+(?:[.,:]\d+)*(?:e[+-]?\d+)?(?:ms|s|m|h|d|k|kb|mb|gb|px|em|rem|%)?$", re.IGNORECASE
)
VERSION = re.compile(r"[\^~<>=!v ]*\d+(?:\.(?:\d+|x|\*))+(?:[-+][\w.]+)?$")
VALIDATION = re.compile(r"(?:required|nullable|sometimes|string)\|")

# Words.
ABOUT_A_SECRET = re.compile(
    r"(?i:password|passwd|passphrase|secret|token|credential|apikey)"
    r"|(?<![A-Za-z])(?i:pass|pwd|key|auth|bearer|api)(?![a-z])|(?<=[a-z])(?:Pass|Pwd|Key|Auth)(?![a-z])"
)
WORDS_AND_A_NUMBER = re.compile(r"[A-Za-z]+(?:[-_./: ][A-Za-z]+)*[-_.: ]?\d{0,4}$")
CAMEL_CASE = re.compile(r"[A-Z]{0,4}[a-z]*(?:[A-Z][a-z]+)*[A-Z]{0,4}$")
LABEL = re.compile(r"[A-Z][a-zà-ÿ]+$|[A-Z][A-Z_]+$")
GRAPHQL_TYPE = re.compile(r"[A-Z]\w*!$")
COMMON = words(
    """string text required optional hidden basic default enabled disabled invalid missing empty wrong field input
    outlined none null true false bearer plain md5 sha256 bcrypt ldap local object array number boolean credentials
    account accepted allowed auto never always manual current new old change reset forgot confirm repeat show hide email
    username user login the a an is was and or to for of in it that this not with must can will should option options
    flag flags argument arguments value if from when expired failed valid incorrect rejected only used given set unset
    stored sent read needs takes one two see policy prompt prompts inherit write keyword identifier"""
)
MESSAGE = re.compile(
    r"\b(?:password|passwort|must|enter|your|required|invalid|please|field|forgot|reset|confirm|characters|should|cannot"
    r"|can't|change|use|is|are|at least|the|mot de passe)\b",
    re.IGNORECASE,
)

SPACE = re.compile(r"\s")
SYMBOL = re.compile(r"[!@#$%^*+=~]")
LETTER = re.compile(r"[A-Za-z]")
DIGIT = re.compile(r"\d")
DIGIT_CHANGE = re.compile(r"\d(?=[A-Za-z])|[A-Za-z](?=\d)")
CASE_CHANGE = re.compile(r"[a-z](?=[A-Z])|[A-Z](?=[a-z])")


def is_secret(value: str, weight: Weight, place: Place, *, is_variable: bool = False) -> bool:
    """Whether a value in a text is the secret that its name speaks of. `is_variable`: the name is a SHELL_VARIABLE."""
    if len(value) < 3 or value[0].isspace() or not is_literal(value):
        return False
    if VERSION.match(value) or (PATH.match(value) and not (len(value) >= 32 and is_random(value))):
        return False
    if place != "quoted" and _is_code(value, place):
        return False
    if weight == "password":
        return _is_password(value, place, is_variable=is_variable)
    return _is_opaque(value, weight, place, is_variable=is_variable)


def is_literal(value: str) -> bool:
    """Neither empty, nor a reference (`$X`, `{{ x }}`, `process.env.X`), nor a placeholder, nor removed already."""
    if not value or MARKER in value or REFERENCE.match(value):
        return False
    return len(value) > LONGEST_PLACEHOLDER or not PLACEHOLDER.match(value)


def is_random(value: str) -> bool:
    """More changes between letters and digits, or between cases, than words, camelCase and version2 have."""
    if len(set(value)) < 6:
        return False
    digits = len(DIGIT.findall(value))
    if 3 <= digits < len(value):
        return len(DIGIT_CHANGE.findall(value)) >= 3
    changes = len(CASE_CHANGE.findall(value))
    if digits == 0:
        return changes >= 0.35 * len(value) and not CAMEL_CASE.match(value)
    return changes + len(DIGIT_CHANGE.findall(value)) >= 2 + len(value) / 8


def _is_code(value: str, place: Place) -> bool:
    if OPEN_BRACKET.match(value) or CALL.match(value) or TYPE.match(value):
        return True
    if place == "loose" and YAML_REFERENCE.match(value):
        return True
    if not ATTRIBUTE.match(value):
        return False
    # `password=settings.db2.password` is code, `PASSWORD=m0nkey.Silver` is none.
    telling = DIGIT if place == "assigned" else LETTER_FOR_LETTER
    return not telling.search(value) or bool(ABOUT_A_SECRET.search(value))


def _is_password(value: str, place: Place, *, is_variable: bool) -> bool:
    length, digit, about = len(value), bool(DIGIT.search(value)), bool(ABOUT_A_SECRET.search(value))
    if SPACE.search(value):
        # "Enter your password" is a label; "four random common words" is a pass phrase.
        several_words = value.islower() and value.count(" ") >= 2
        return place == "quoted" and not MESSAGE.search(value) and (digit or several_words)
    if NUMBER.match(value):
        return length >= 4 and value.isdigit() and place != "argument"
    if value.lower() in COMMON or VALIDATION.match(value):
        return False
    if digit or SYMBOL.search(value):
        if place in ("loose", "argument") and about and WORDS_AND_A_NUMBER.match(value):
            return False  # `password = password2`
        if place == "argument":
            return digit and length >= 5
        if place == "loose":
            return length >= 5 if digit else length >= 6 and not GRAPHQL_TYPE.match(value)
        return True
    # Letters alone: a poor password, or an identifier, a type, a label, a word of a sentence.
    if about and not (value.islower() and value.isalpha() and length >= 12 and place != "loose"):
        return False
    if place == "assigned":
        return is_variable or (value.islower() and length >= 4) or (length >= 8 and is_random(value))
    return place == "quoted" and length >= 4 and not LABEL.match(value)


def _is_opaque(value: str, weight: Weight, place: Place, *, is_variable: bool) -> bool:
    if SPACE.search(value) or NUMBER.match(value) or "://" in value or TYPE.match(value):
        return False
    length, given = len(value), place in ("assigned", "quoted")
    if weight == "key":
        return length >= 16 and is_random(value) and not ATTRIBUTE.match(value)
    about = bool(ABOUT_A_SECRET.search(value))
    if DIGIT.search(value) and LETTER.search(value):
        if about and WORDS_AND_A_NUMBER.match(value):
            return weight == "secret" and given and length >= 8  # not `token = "token-12"`
        if given:
            return length >= 8 or (length >= 6 and is_variable)
        if place == "loose" and not IDENTIFIER.match(value):
            return length >= 8
        digits = len(DIGIT.findall(value))
        return length >= 10 and (digits >= 4 or (digits >= 2 and is_random(value)))
    if weight == "secret" and given:
        return length >= 8 and value.lower() not in COMMON and (is_variable or not about)
    if place == "assigned" and is_variable:
        return length >= 12 and not about
    return place != "argument" and length >= 12 and not about and is_random(value)
