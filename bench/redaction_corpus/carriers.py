"""The texts in which secrets reach an agent: shell lines, files, diffs, logs, requests, encodings, split lines.

A carrier is a text with a place for one secret, «secret», or for a form of it: «url» percent-encoded, «base64», cut in
two, and so on. It also knows the variable's name in the spellings «VARIABLE», «snake_case», «kebab-case», «camelCase».
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal
from urllib.parse import quote

from bench.redaction_corpus.secrets import Kind

For = Literal["any", "telling", "password", "private-key"]
"""Which secrets a carrier takes: any (a name gives it away), only those that give themselves away, passwords, keys."""


@dataclass(frozen=True, slots=True)
class Carrier:
    name: str
    takes: For
    text: str
    held_out: bool = False
    """Kept from the half that the patterns were tuned on."""


@dataclass(frozen=True, slots=True)
class Planted:
    kind: str
    carrier: str
    before: str
    form: str
    """What must not survive, as it stands in the text."""
    after: str
    secret: str

    @property
    def text(self) -> str:
        return self.before + self.form + self.after


def fits(carrier: Carrier, kind: Kind) -> bool:
    if "private-key" in (carrier.takes, kind.name):
        return carrier.takes == kind.name
    if carrier.takes == "password":
        return kind.name == "password"
    if carrier.takes == "telling":
        return not kind.needs_name
    return not kind.shape.startswith("https:")


def plant(carrier: Carrier, kind: Kind, secret: str, rng: Random) -> Planted:
    variable = rng.choice(kind.variables)
    first, *rest = variable.lower().split("_")
    camel = first + "".join(word.capitalize() for word in rest)
    text = carrier.text
    for spelling, name in (
        ("«VARIABLE»", variable),
        ("«snake_case»", variable.lower()),
        ("«kebab-case»", variable.lower().replace("_", "-")),
        ("«camelCase»", camel),
        ("«PascalCase»", camel[0].upper() + camel[1:]),
        ("«#»", str(rng.randint(2, 97))),
    ):
        text = text.replace(spelling, name)
    before, how, after = re.split("[«»]", text)
    form = FORMS[how](secret, rng)
    if how == "shell" and not re.fullmatch(r"[\w.,:/+=@%-]+", secret):
        before, after = before + "'", "'" + after
    if form.startswith(kind.public):
        before, form = before + kind.public, form.removeprefix(kind.public)
    return Planted(kind.name, carrier.name, before, form, after, secret)


def cut(secret: str, rng: Random, joint: str) -> str:
    at = rng.randint(len(secret) // 3, 2 * len(secret) // 3)
    return secret[:at] + joint + secret[at:]


def numbered(key: str, mark: str) -> str:
    first, *lines = key.split("\n")
    return first + "".join(f"\n{number:>6}{mark}{line}" for number, line in enumerate(lines, 2))


FORMS: dict[str, Callable[[str, Random], str]] = {
    "secret": lambda secret, _: secret,
    "shell": lambda secret, _: secret,
    "cookie": lambda secret, _: re.sub("[;, ]", "-", secret),
    "url": lambda secret, _: quote(secret, safe=""),
    "userinfo": lambda secret, _: quote(secret, safe=":"),
    "xml": lambda secret, _: secret.replace("&", "&amp;").replace("<", "&lt;"),
    "json": lambda secret, _: json.dumps(secret)[1:-1],
    "json in json": lambda secret, _: json.dumps(json.dumps(secret))[3:-3],
    "base64": lambda secret, _: base64.b64encode(secret.encode()).decode(),
    "base64 of a line": lambda secret, _: base64.b64encode(f"KEY={secret}\n".encode()).decode(),
    "base64 of json": lambda secret, _: base64.b64encode(json.dumps({"value": secret}).encode()).decode(),
    "base64 of user": lambda secret, _: base64.b64encode(f"admin:{secret}".encode()).decode(),
    "cut by a backslash": lambda secret, rng: cut(secret, rng, "\\\n"),
    "cut by a plus": lambda secret, rng: cut(secret, rng, '" + "'),
    "cut into two lines": lambda secret, rng: cut(secret, rng, '"\n    "'),
    "truncated": lambda secret, rng: secret[: rng.randint(120, 220)].rstrip(),
    "lines of a diff": lambda secret, _: secret.replace("\n", "\n+"),
    "indented lines": lambda secret, _: secret.replace("\n", "\n    "),
    "numbered lines": lambda secret, _: numbered(secret, "→"),
    "numbered and truncated": lambda secret, rng: numbered(secret[: rng.randint(120, 220)].rstrip(), "\t"),
}

CARRIERS = (
    # Shell
    Carrier("export", "any", "cd ~/src/app && export «VARIABLE»=«shell» && make deploy"),
    Carrier("export quoted", "any", 'export «VARIABLE»="«secret»"\nmake deploy'),
    Carrier("before a command", "any", "«VARIABLE»=«shell» NODE_ENV=production node server.js --port 8080"),
    Carrier("flag", "any", "./deploy.sh --region eu-west-1 --«kebab-case» «shell» --yes"),
    Carrier("flag with =", "any", "./deploy.sh --region eu-west-1 --«kebab-case»=«shell» --yes"),
    Carrier("docker run", "any", "docker run --rm -e «VARIABLE»=«shell» -p 8080:80 acme/web:1.4.2"),
    Carrier("backslash and newline", "any", "export «VARIABLE»=«cut by a backslash»\necho done\n"),
    Carrier(
        "trace",
        "any",
        "+ set -e\n+ «VARIABLE»=«shell»\n+ ./run --verbose\nlistening on 8080\n",
        held_out=True,
    ),
    Carrier(
        "process list",
        "any",
        "deploy «#»  0.3 /usr/bin/agent --«kebab-case»=«secret»\nroot 1 init\n",
        held_out=True,
    ),
    # Files
    Carrier(".env", "any", "NODE_ENV=production\nPORT=3000\n«VARIABLE»=«secret»\nLOG_LEVEL=debug\n"),
    Carrier(".env quoted", "any", 'NODE_ENV=production\n«VARIABLE»="«secret»"\nLOG_LEVEL=debug\n'),
    Carrier("json", "any", '{"region": "eu-west-1", "«snake_case»": "«json»", "retries": 3}'),
    Carrier(
        "json, camelCase",
        "any",
        '{\n  "region": "eu-west-1",\n  "«camelCase»": "«json»",\n  "retries": 3\n}',
    ),
    Carrier(
        "json in json",
        "any",
        r'{"content": "{\"region\": \"x\", \"«snake_case»\": \"«json in json»\", \"n\": 3}"}',
    ),
    Carrier(
        "yaml quoted", "any", 'service:\n  region: eu-west-1\n  «snake_case»: "«secret»"\n  retries: 3\n'
    ),
    Carrier("yaml", "any", "service:\n  region: eu-west-1\n  «snake_case»: «secret»\n  retries: 3\n"),
    Carrier("ini", "any", "[production]\nregion = eu-west-1\n«snake_case» = «secret»\nretries = 3\n"),
    Carrier("toml", "any", '[auth]\nenabled = true\n«snake_case» = "«secret»"\ntimeout_s = 30\n'),
    Carrier("compose", "any", "    environment:\n      - TZ=UTC\n      - «VARIABLE»=«secret»\n    ports:\n"),
    Carrier(
        "container env",
        "any",
        'env:\n  - name: «VARIABLE»\n    value: "«secret»"\n  - name: TZ\n    value: UTC\n',
    ),
    Carrier("diff", "any", "@@ -1,3 +1,4 @@\n NODE_ENV=production\n-«VARIABLE»=«secret»\n+LOG_LEVEL=info\n"),
    Carrier(
        "numbered lines",
        "any",
        "     1→NODE_ENV=production\n     2→«VARIABLE»=«secret»\n     3→LOG_LEVEL=info\n",
    ),
    Carrier("grep", "any", "deploy/.env.production:«#»:«VARIABLE»=«secret»\ndeploy/README.md:3:see .env\n"),
    Carrier(
        "kubernetes secret",
        "any",
        "apiVersion: v1\nkind: Secret\ndata:\n  config: «base64»\n---\nkind: Service\n",
    ),
    Carrier(
        "npmrc",
        "any",
        "registry=https://npm.acme.test/\n//npm.acme.test/:_authToken=«secret»\n",
        held_out=True,
    ),
    Carrier(
        "hcl",
        "any",
        'provider "acme" {\n  region     = "x"\n  «snake_case» = "«secret»"\n}\n',
        held_out=True,
    ),
    Carrier("xml", "any", "<settings>\n  <«camelCase»>«xml»</«camelCase»>\n</settings>\n", held_out=True),
    Carrier(
        "diff of json",
        "any",
        '@@ -4,2 +4,2 @@\n   "a": "x",\n+  "«camelCase»": "«json»",\n   "b": 3\n',
        held_out=True,
    ),
    # Code
    Carrier("python constant", "any", 'import httpx\n\n«VARIABLE» = "«secret»"\n\nrun(«VARIABLE»)\n'),
    Carrier(
        "keyword argument",
        "any",
        'client = Client(host="db.acme.test", «snake_case»="«secret»", timeout=30)\n',
    ),
    Carrier("javascript", "any", "const «camelCase» = '«secret»';\nmodule.exports = { «camelCase» };\n"),
    Carrier("concatenation", "any", '«VARIABLE» = "«cut by a plus»"\n'),
    Carrier("two literals", "any", '«VARIABLE» = (\n    "«cut into two lines»"\n)\n'),
    Carrier(
        "typed constant", "any", 'export const «VARIABLE»: string = "«secret»";\nrun();\n', held_out=True
    ),
    Carrier(
        "go struct",
        "any",
        'cfg := Config{\n\tRegion: "x",\n\t«PascalCase»: "«secret»",\n}\n',
        held_out=True,
    ),
    Carrier(
        "php",
        "any",
        "return ['region' => 'x', '«snake_case»' => '«secret»', 'retries' => 3];\n",
        held_out=True,
    ),
    Carrier(
        "python repr",
        "any",
        "environ({'PATH': '/usr/bin:/bin', '«VARIABLE»': '«secret»', 'LANG': 'C'})\n",
        held_out=True,
    ),
    # Requests and logs
    Carrier(
        "query string", "any", '10.0.0.7 - - "GET /v1/items?«snake_case»=«url»&page=2 HTTP/1.1" 200 512\n'
    ),
    Carrier(
        "bearer", "any", 'curl -sS -H "Authorization: Bearer «secret»" https://api.acme.test/v1/me | jq .id'
    ),
    Carrier(
        "api key header",
        "any",
        "curl -X POST -H 'X-Api-Key: «secret»' -d @body.json https://api.acme.test/v1/items",
    ),
    Carrier("token header", "any", "> GET /v1/me HTTP/1.1\n> PRIVATE-TOKEN: «secret»\n> Accept: */*\n"),
    Carrier("cookie", "any", "curl -H 'Cookie: theme=dark; sessionid=«cookie»' https://acme.test/account"),
    Carrier("set-cookie", "any", "Set-Cookie: session=«cookie»; Path=/; HttpOnly; SameSite=Lax\n"),
    Carrier("log", "any", "2026-03-01T12:00:07Z INFO  boot: config «snake_case»=«secret» retries=3\n"),
    Carrier("json log", "any", '{"level":"info","msg":"config","«camelCase»":"«json»","ts":1772366407.12}\n'),
    Carrier(
        "http dump",
        "any",
        "> GET /v1/me HTTP/2\n> authorization: Bearer «secret»\n> accept: */*\n>\n",
        held_out=True,
    ),
    Carrier(
        "headers in code",
        "any",
        'get(url, headers={"Authorization": "Bearer «secret»", "Accept": "*/*"})\n',
        held_out=True,
    ),
    # Values that give themselves away, without a name beside them
    Carrier("prose", "telling", "Please try it with «secret», then tell me what happens."),
    Carrier("end of a sentence", "telling", "It answered 401 for «secret»."),
    Carrier("markdown", "telling", "1. Open the dashboard\n2. Paste `«secret»` into the form\n3. Save\n"),
    Carrier(
        "escaped newline",
        "telling",
        r'{"stdout":"ok\n«json»\ndone","stderr":"","interrupted":false}',
    ),
    Carrier("coloured", "telling", "\x1b[32m✔\x1b[0m created \x1b[1m«secret»\x1b[22m (shown once)\n"),
    Carrier("base64 line", "telling", "echo «base64 of a line» | base64 -d > /run/app.conf"),
    Carrier("base64 json", "telling", 'payload: "«base64 of json»"\n'),
    Carrier(
        "table",
        "telling",
        "| name | value | age |\n|---|---|---|\n| ci | «secret» | 3d |\n",
        held_out=True,
    ),
    # Passwords
    Carrier(
        "database url",
        "password",
        "DATABASE_URL=postgres://app:«url»@db.acme.test:5432/app?sslmode=require\n",
    ),
    Carrier("mongodb url", "password", "mongosh 'mongodb+srv://app:«url»@cluster0.acme.test/app'"),
    Carrier("web url", "password", "git remote add origin https://ci:«url»@git.acme.test/team/app.git"),
    Carrier("curl user", "password", "curl -sf -u 'admin:«secret»' https://api.acme.test/v1/status"),
    Carrier("mysql", "password", "mysqldump -h db.acme.test -u root -p«shell» app > dump.sql"),
    Carrier(
        "basic auth",
        "password",
        "GET /v1/me HTTP/1.1\nAuthorization: Basic «base64 of user»\nAccept: */*\n",
    ),
    Carrier(
        "connection string",
        "password",
        '"Default": "Server=db;Database=app;User Id=sa;Password=«secret»;Encrypt=true"',
    ),
    Carrier("sql", "password", "ALTER ROLE app PASSWORD '«secret»';\nGRANT ALL ON SCHEMA app TO app;\n"),
    Carrier("mysql grant", "password", "CREATE USER 'app'@'%' IDENTIFIED BY '«secret»';\n"),
    Carrier("netrc", "password", "machine api.acme.test\nlogin deploy\npassword «secret»\n"),
    Carrier(
        "setter", "password", 'source.setUsername("app");\nsource.setPassword("«secret»");\n', held_out=True
    ),
    Carrier(
        "sshpass",
        "password",
        "sshpass -p «shell» ssh -o ConnectTimeout=5 deploy@10.0.0.7 uptime",
        held_out=True,
    ),
    Carrier(
        "jdbc",
        "password",
        "jdbc:postgresql://db.acme.test:5432/app?user=app&password=«url»&ssl=true",
        held_out=True,
    ),
    Carrier(
        "clone url",
        "password",
        "git clone https://oauth2:«userinfo»@git.acme.test/team/app.git /srv/app",
        held_out=True,
    ),
    # Private keys, over many lines
    Carrier("key file", "private-key", "$ cat ~/.ssh/id_rsa\n«secret»\n$ ls\n"),
    Carrier(
        "key in json",
        "private-key",
        r'{"type": "service_account", "private_key": "«json»\n", "client_email": "x"}',
    ),
    Carrier("key truncated", "private-key", "$ head -c 4096 key.pem\n«truncated»\n\n[output truncated]\n"),
    Carrier(
        "key in a diff",
        "private-key",
        "+++ b/key.pem\n@@ -0,0 +1,9 @@\n+«lines of a diff»\n diff --git a/x b/x\n",
    ),
    Carrier("key numbered", "private-key", "     1→«numbered lines»\n"),
    Carrier(
        "key in yaml", "private-key", "tls:\n  key: |\n    «indented lines»\n  port: 443\n", held_out=True
    ),
    Carrier("key in base64", "private-key", "user:\n    client-key-data: «base64»\n", held_out=True),
    Carrier("key numbered and truncated", "private-key", "     1\t«numbered and truncated»", held_out=True),
)
