"""Which names give away that their value is a secret: `DB_PASSWORD`, `clientSecret`, `X-Api-Key`, `_authToken`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

Weight = Literal["password", "secret", "token", "key"]
"""How much a name alone says. A password may be any word; a secret any value that is not prose; a token looks random;
a `key`, or a name with words behind it that are not known, has to hold something very random."""


class Name(NamedTuple):
    kind: str
    """For the marker: `password`, `api-key`, `github-token`, …"""
    weight: Weight


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

# What may follow without changing the meaning: API_KEY_PROD, password2, client_secret_value.
HARMLESS_TAIL = words(
    """value val v prod production staging stage stg dev development test testing live sandbox local old new current
    previous next primary secondary main backup root admin user default override base64 b64 raw plain plaintext text
    data input string str literal env base"""
)
# What follows where the name speaks about a secret and does not hold it: TOKEN_URL, passwordField, secret_name.
OTHER_THING = words(
    """id ids name names type types kind file files filename path paths dir folder url uri urls endpoint host port len
    length size count counts limit limits max min ttl expiry expires expiration exp lifetime age time date at in issued
    header headers field fields column label placeholder title hint prompt message error errors regex pattern patterns
    policy policies rule rules format version index usage used budget arn ref refs selector store manager provider
    service services class classes handler helper validator validation check checker reset resets change changed
    required require requires enabled enable disabled disable strength algorithm alg method mode source sources scope
    scopes status state info details stdin output vault ring board bindings binding press down up code codes event word
    phrase list map set table db repository repo factory builder generator encoder decoder interceptor middleware guard
    strategy module component screen page view form dialog button link icon visible hidden show toggle rotation rotate
    refresh revoke revoked valid invalid verified verify confirm confirmation match matches not is has should created
    updated deleted sent seconds minutes hours days ms per positions position param params parameter parameters arg args
    option options config settings setting group groups role roles fingerprint digest checksum sha sha1 sha256 sha512
    md5 signature bits mesh pair frame alias account spec schema model request response dto example sample template
    rate"""
)
# Tokens of other trades: pagination, language models, cancellation.
OTHER_TOKENS = words(
    """next page continuation pagination cursor sync resume cancel cancellation stop eos bos pad unk mask cls sep
    special max min num total input output prompt completion cached reasoning"""
)
# `…key` words that name a secret; any other SOMETHING_KEY needs the value to speak for itself.
SECRET_KEYS = words(
    """api access secret private encryption encrypt decryption signing sign auth account shared master service
    subscription license licence storage application app admin ingest write deploy webhook hmac jwt cipher aes crypto
    session server consumer client integration root functions function sas"""
)
OTHER_KEYS = words(
    """public pub primary foreign cache partition sort row hash idempotency object event group routing translation i18n
    registry index map dict lookup unique composite natural surrogate shard range hot short press rate bucket s3 redis
    config setting feature flag query search state store item data json node tree react list column header lang message
    locale theme host id known ssh kms trusted"""
)

PASSWORDS = ("password", "passwd", "passphrase", "passwort")
SHORT_PASSWORDS = words(
    """pwd pw passcode dbpass userpass mysqlpass rootpass adminpass dbpw rootpw adminpw requirepass masterauth userpw
    bindpw rootpwd dbpwd sshpass pgpass psw pswd passw mypass"""
)
# Whose pass is a password; a first_pass or a render_pass is none.
PASS_OWNERS = words(
    """db user database mysql pg postgres redis admin root smtp mail email ftp ssh login my mongo mongodb rabbitmq api
    auth account proxy http basic sudo bind ldap keystore cert ssl es elastic app service master wifi vnc sa registry
    docker key"""
)

KEY_KINDS = {
    "secret": "secret",
    "private": "private-key",
    "encryption": "encryption-key",
    "signing": "signing-key",
    "account": "account-key",
    "storage": "account-key",
}
# Whose secret it was: a marker may say that, since it is nothing of the value.
OWNERS = words(
    """algolia alibaba anthropic auth0 aws azure bitbucket circleci cloudflare codecov cohere confluent datadog deepgram
    deepseek digitalocean discord docker dropbox elastic fastly firebase gemini gitlab github google grafana heroku
    hubspot intercom jenkins jira launchdarkly mailchimp mailgun mapbox mistral mixpanel mongodb mysql netlify npm okta
    openai pagerduty paypal pinecone postgres pusher pypi rabbitmq redis segment sendgrid sentry shopify slack snyk
    sonar spotify stripe supabase tavily telegram terraform twilio twitter vault vercel wandb weaviate zendesk"""
)
SHORT_OWNERS = {"s3": "aws", "cf": "cloudflare", "dd": "datadog", "pg": "postgres", "tf": "terraform"}


@lru_cache(maxsize=8192)
def given_away(name: str) -> Name | None:
    """What a name says of its value, None where nothing. `name`: one identifier, option or header, no quotes."""
    parts = [word.lower() for word in WORD.findall(name)]
    at, said = _last_telling_word(parts, name)
    if said is None:
        return None
    tail = parts[at + 1 :]
    if any(word in OTHER_THING for word in tail):
        return None
    kind, weight = said
    if any(word not in HARMLESS_TAIL and not word.isdigit() for word in tail):
        # TOKEN_GITHUB, API_KEY_STRIPE: the owner may follow, but then the value has to look like one.
        weight = "key"
    owner = next(
        (SHORT_OWNERS.get(word, word) for word in parts if word in OWNERS or word in SHORT_OWNERS), None
    )
    return Name(f"{owner}-{kind}" if owner else kind, weight)


def _last_telling_word(parts: list[str], name: str) -> tuple[int, tuple[str, Weight] | None]:
    for at in range(len(parts) - 1, -1, -1):
        word, before = parts[at], parts[at - 1] if at else ""
        if word.endswith(PASSWORDS) or word in SHORT_PASSWORDS:
            return at, ("password", "password")
        if word == "pass" and (before in PASS_OWNERS or len(parts) == 1):
            return at, ("password", "password")
        if word.endswith("secret"):
            return at, ("secret", "secret")
        if word.endswith("token"):
            other = before in OTHER_TOKENS or word.removesuffix("token") in OTHER_TOKENS
            return at, None if other else ("token", "token")
        if word.endswith(("apikey", "secretkey", "accesskey", "authkey", "privatekey")):
            return at, ("private-key" if word.endswith("privatekey") else "api-key", "token")
        if word == "key":
            return at, _key(before, name)
        if word in ("credential", "credentials", "creds", "jwt", "bearer"):
            return at, ("credential", "token")
        if word == "auth":
            return at, ("credential", "key")
        if word == "sig" or (word == "signature" and before in ("amz", "goog")):
            return at, ("signature", "key")
    return 0, None


def _key(before: str, name: str) -> tuple[str, Weight] | None:
    if before in SECRET_KEYS:
        return KEY_KINDS.get(before, "api-key"), "secret" if before == "secret" else "token"
    if before and before not in OTHER_KEYS and name.isupper() and "PUBLIC" not in name:
        return "api-key", "key"
    return None
