"""Which names give away that their value is a secret: `DB_PASSWORD`, `clientSecret`, `X-Api-Key`, `_authToken`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

Weight = Literal["password", "secret", "token", "key"]
"""How much a name alone says. A password may be any word; a secret any value that is not prose; a token or a key looks
random; `key` is a mere `SOMETHING_KEY`, and its value has to look very random."""


class Name(NamedTuple):
    kind: str
    """For the marker: `password`, `api-key`, `github-token`, …"""
    weight: Weight


WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

# What may follow without changing the meaning: API_KEY_PROD, password2, client_secret_value.
HARMLESS_TAIL = frozenset(
    """value val v prod production staging stage stg dev development test testing live sandbox local old new current
    previous next primary secondary main backup root admin user default override base64 b64 raw plain plaintext text
    data input string str literal env base""".split()
)

# What follows where the name speaks about a secret and does not hold it: TOKEN_URL, passwordField, secret_name.
OTHER_THING = frozenset(
    """id ids name names type types kind file files filename path paths dir folder url uri urls endpoint host port len
    length size count counts limit limits max min ttl expiry expires expiration exp lifetime age time date at in issued
    header headers field fields column label placeholder title hint prompt message error errors regex pattern patterns
    policy policies rule rules format version index usage used budget arn ref refs selector store manager provider
    service services class classes handler helper validator validation check checker reset resets change changed
    required require requires enabled enable disabled disable strength algorithm alg method mode source sources scope
    scopes status state info details stdin input output vault ring board bindings binding press down up code codes
    event word words phrase list map set table db repository repo factory builder generator encoder decoder
    interceptor middleware guard strategy module component screen page view form dialog button link icon visible hidden
    show toggle rotation rotate refresh revoke revoked valid invalid verified verify confirm confirmation match
    matches not is has should created updated deleted sent seconds minutes hours days ms per positions position types
    param params parameter parameters arg args option options config settings setting group groups role roles user_id
    fingerprint digest checksum sha sha1 sha256 sha512 md5 signature bits mesh pair frame alias account spec schema
    model request response dto token_type example sample template rate""".split()
)

# Tokens of other trades: pagination, language models, cancellation.
OTHER_TOKENS = frozenset(
    """next page continuation pagination cursor sync resume cancel cancellation stop eos bos pad unk mask cls sep special
    max min num total input output prompt completion cached reasoning""".split()
)

# `…key` words that name a secret; any other key needs the value to speak for itself.
SECRET_KEYS = frozenset(
    """api access secret private encryption encrypt signing sign auth account shared master service subscription license
    licence storage application app admin ingest write deploy webhook hmac jwt cipher aes crypto session server consumer
    client integration license decryption root hash_secret functions function host_function sas""".split()
)
OTHER_KEYS = frozenset(
    """public pub primary foreign cache partition sort row hash idempotency object event group routing translation i18n
    registry index map dict lookup unique composite natural surrogate shard range hot short press rate bucket s3 redis
    config setting feature flag query search state store item data json node tree react list row column header lang
    message locale theme host id known ssh kms trusted""".split()
)

PASSWORDS = ("password", "passwd", "passphrase", "passwort")
SHORT_PASSWORDS = frozenset(
    """pwd pw passcode dbpass userpass mysqlpass rootpass adminpass dbpw rootpw adminpw requirepass masterauth
    userpw bindpw rootpwd dbpwd sshpass pgpass psw pswd passw mypass""".split()
)

# Whose pass is a password; a first_pass or a render_pass is none.
PASS_OWNERS = frozenset(
    """db user database mysql pg postgres redis admin root smtp mail email ftp ssh login my mongo mongodb rabbitmq api
    auth account proxy http basic sudo bind ldap keystore cert ssl es elastic app service master wifi vnc sa registry
    docker key""".split()
)

# The owners that a marker may name beside what it was; nothing of the value.
OWNERS = {
    word: word
    for word in """algolia alibaba anthropic auth0 azure bitbucket circleci cloudflare codecov cohere confluent datadog
    deepgram deepseek digitalocean discord docker dropbox elastic fastly firebase gemini gitlab github google grafana
    heroku hubspot intercom jenkins jira launchdarkly mailchimp mailgun mapbox mistral mixpanel mongodb mysql netlify
    npm okta openai pagerduty paypal pinecone pusher pypi rabbitmq redis segment sendgrid sentry shopify slack snyk
    sonar spotify stripe supabase tavily telegram twilio twitter vault vercel wandb weaviate zendesk""".split()
} | {
    "aws": "aws",
    "s3": "aws",
    "cf": "cloudflare",
    "dd": "datadog",
    "postgres": "postgres",
    "pg": "postgres",
    "tf": "terraform",
}


@lru_cache(maxsize=8192)
def given_away(name: str) -> Name | None:
    """What a name says of its value, None where nothing. `name` is one identifier, option or header, without its quotes."""
    words = [word.lower() for word in WORD.findall(name)]
    at, name_of = _last_secret_word(words, name)
    if name_of is None:
        return None
    tail = words[at + 1 :]
    if any(word in OTHER_THING for word in tail):
        return None
    kind, weight = name_of
    if any(word not in HARMLESS_TAIL and not word.isdigit() for word in tail):
        # TOKEN_GITHUB, API_KEY_STRIPE: the owner may follow, but then the value has to look like one.
        weight = "key"
    owner = next((OWNERS[word] for word in words if word in OWNERS), None)
    return Name(f"{owner}-{kind}" if owner else kind, weight)


def _last_secret_word(words: list[str], name: str) -> tuple[int, tuple[str, Weight] | None]:
    for at in range(len(words) - 1, -1, -1):
        word, before = words[at], words[at - 1] if at else ""
        if word.endswith(PASSWORDS) or word in SHORT_PASSWORDS:
            return at, ("password", "password")
        if word == "pass" and (before in PASS_OWNERS or len(words) == 1):
            return at, ("password", "password")
        if word.endswith("secret"):
            return at, ("secret", "secret")
        if word.endswith("token"):
            if before in OTHER_TOKENS or word.removesuffix("token") in OTHER_TOKENS:
                return at, None
            return at, ("token", "token")
        if word.endswith(("apikey", "secretkey", "accesskey", "authkey", "privatekey")):
            return at, ("private-key" if word.endswith("privatekey") else "api-key", "token")
        if word == "key":
            if before in SECRET_KEYS:
                return at, (KEY_KINDS.get(before, "api-key"), "secret" if before == "secret" else "token")
            if before and before not in OTHER_KEYS and name.isupper() and "public" not in words:
                return at, ("api-key", "key")
            return at, None
        if word in ("credential", "credentials", "creds", "jwt", "bearer"):
            return at, ("credential", "token")
        if word == "auth":
            return at, ("credential", "key")
        if word == "sig" or (word == "signature" and before in ("amz", "goog")):
            return at, ("signature", "key")
    return 0, None


KEY_KINDS = {
    "secret": "secret",
    "private": "private-key",
    "encryption": "encryption-key",
    "signing": "signing-key",
    "account": "account-key",
    "storage": "account-key",
}
