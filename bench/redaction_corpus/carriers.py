"""The texts in which secrets reach an agent: shell lines, files, diffs, logs, requests, encodings, split lines.

A carrier puts one secret into a text and says which part of the text has to go: the secret itself, or the form
(escaped, encoded, split) that it took on there. Those marked `held_out` are kept from the half that the patterns were
tuned on.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from urllib.parse import quote

from redaction_corpus.secrets import Kind


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


Fill = Callable[[Random, str, str], tuple[str, str, str]]
"""(random, variable, secret) → text before, the form in which the secret stands, text after."""


@dataclass(frozen=True, slots=True)
class Carrier:
    name: str
    fill: Fill
    for_kinds: str
    """`any`: a name gives the secret away; `telling`: only what gives itself away; `password`; `private-key`."""
    held_out: bool

    def takes(self, kind: Kind) -> bool:
        multiline = kind.name == "private-key"
        if self.for_kinds == "private-key" or multiline:
            return multiline and self.for_kinds == "private-key"
        if self.for_kinds == "password":
            return kind.name == "password"
        url = kind.shape.startswith("https:")
        return self.for_kinds == "any" and not url or self.for_kinds == "telling" and not kind.needs_name


CARRIERS: list[Carrier] = []


def carrier(for_kinds: str = "any", *, held_out: bool = False) -> Callable[[Fill], Fill]:
    def register(fill: Fill) -> Fill:
        CARRIERS.append(Carrier(fill.__name__, fill, for_kinds, held_out))
        return fill

    return register


def snake(variable: str) -> str:
    return variable.lower()


def kebab(variable: str) -> str:
    return variable.lower().replace("_", "-")


def camel(variable: str) -> str:
    first, *rest = variable.lower().split("_")
    return first + "".join(word.capitalize() for word in rest)


def shell_word(secret: str) -> str:
    return secret if re.fullmatch(r"[\w.,:/+=@%-]+", secret) else f"'{secret}'"


def around(text: str, secret: str) -> tuple[str, str, str]:
    before, _, after = text.partition(secret)
    return before, secret, after


# Shell


@carrier()
def export(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    word = rng.choice((shell_word(secret), f'"{secret}"'))
    return around(f"cd ~/src/app && export {variable}={word} && make deploy", secret)


@carrier()
def assignment_before_a_command(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(f"{variable}={shell_word(secret)} NODE_ENV=production node server.js --port 8080", secret)


@carrier()
def flag(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(
        f"./deploy.sh --region eu-west-1 --{kebab(variable)}{rng.choice(' =')}{shell_word(secret)} --yes",
        secret,
    )


@carrier()
def docker_run(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(f"docker run --rm -e {variable}={shell_word(secret)} -p 8080:80 acme/web:1.4.2", secret)


@carrier()
def backslash_newline(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    at = rng.randint(len(secret) // 3, 2 * len(secret) // 3)
    return f"export {variable}=", f"{secret[:at]}\\\n{secret[at:]}", "\necho done\n"


@carrier(held_out=True)
def trace(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(
        f"+ set -e\n+ {variable}={shell_word(secret)}\n+ ./run --verbose\nlistening on 8080\n", secret
    )


@carrier(held_out=True)
def process_list(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(
        f"deploy   {rng.randint(100, 9999)}  0.3  1.1 /usr/bin/agent --{kebab(variable)}={secret}\nroot 1 init\n",
        secret,
    )


# Files


@carrier()
def dotenv(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    quote_mark = rng.choice(("", '"', "'")) if re.fullmatch(r"[\w.,:/+=@%-]+", secret) else '"'
    return around(
        f"NODE_ENV=production\nPORT=3000\n{variable}={quote_mark}{secret}{quote_mark}\nLOG_LEVEL=debug\n",
        secret,
    )


@carrier()
def json_field(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    name = rng.choice((snake, camel, str))(variable)
    return around(
        json.dumps({"region": "eu-west-1", name: secret, "retries": 3}, indent=rng.choice((None, 2))), secret
    )


@carrier()
def json_in_json(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    inner = json.dumps({"region": "eu-west-1", snake(variable): secret, "retries": 3})
    return around(
        json.dumps({"type": "tool_result", "content": inner + "\n"}), json.dumps(json.dumps(secret))[3:-3]
    )


@carrier()
def yaml_field(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    plain = re.fullmatch(r"[\w./+=-]+", secret)
    mark = rng.choice(("", '"', "'")) if plain else '"'
    return around(
        f"service:\n  region: eu-west-1\n  {snake(variable)}: {mark}{secret}{mark}\n  retries: 3\n", secret
    )


@carrier()
def ini(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(f"[production]\nregion = eu-west-1\n{snake(variable)} = {secret}\nretries = 3\n", secret)


@carrier()
def toml(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(f'[auth]\nenabled = true\n{snake(variable)} = "{secret}"\ntimeout_s = 30\n', secret)


@carrier()
def compose(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    if rng.random() < 0.5:
        return around(f"    environment:\n      - TZ=UTC\n      - {variable}={secret}\n    ports:\n", secret)
    return around(
        f'    env:\n      - name: {variable}\n        value: "{secret}"\n      - name: TZ\n        value: UTC\n',
        secret,
    )


@carrier()
def diff(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    sign = rng.choice("+-")
    return around(
        f"@@ -1,3 +1,4 @@\n NODE_ENV=production\n{sign}{variable}={secret}\n+LOG_LEVEL=info\n", secret
    )


@carrier()
def numbered_lines(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(f"     1→NODE_ENV=production\n     2→{variable}={secret}\n     3→LOG_LEVEL=info\n", secret)


@carrier()
def grep(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(
        f"deploy/.env.production:{rng.randint(2, 99)}:{variable}={secret}\ndeploy/README.md:3:see .env\n",
        secret,
    )


@carrier(held_out=True)
def npmrc(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(
        f"registry=https://npm.acme.test/\n//npm.acme.test/:_authToken={secret}\nalways-auth=true\n", secret
    )


@carrier(held_out=True)
def hcl(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(
        f'provider "acme" {{\n  region     = "eu-west-1"\n  {snake(variable)} = "{secret}"\n}}\n', secret
    )


@carrier(held_out=True)
def xml(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    if set(secret) & set("<>&"):
        secret_form = secret.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return around(
            f"<settings>\n  <{camel(variable)}>{secret_form}</{camel(variable)}>\n</settings>\n", secret_form
        )
    return around(f"<settings>\n  <{camel(variable)}>{secret}</{camel(variable)}>\n</settings>\n", secret)


@carrier(held_out=True)
def diff_of_json(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(
        f'@@ -4,2 +4,2 @@\n   "region": "eu-west-1",\n+  "{camel(variable)}": "{secret}",\n   "retries": 3\n',
        secret,
    )


# Code


@carrier()
def python_constant(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(
        f'import httpx\n\n{variable} = "{secret}"\n\n\ndef main() -> None:\n    run({variable})\n', secret
    )


@carrier()
def keyword_argument(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(f'client = Client(host="db.acme.test", {snake(variable)}="{secret}", timeout=30)\n', secret)


@carrier()
def javascript(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(
        f"const {camel(variable)} = '{secret}';\nmodule.exports = {{ {camel(variable)} }};\n", secret
    )


@carrier()
def concatenation(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    at = rng.randint(len(secret) // 3, 2 * len(secret) // 3)
    joint = rng.choice(('" + "', '"\n    "', '" +\n    "'))
    return f'{variable} = "', f"{secret[:at]}{joint}{secret[at:]}", '"\n'


@carrier(held_out=True)
def typed_constant(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(
        f'export const {variable}: string = "{secret}";\nexport const REGION: string = "eu-west-1";\n', secret
    )


@carrier(held_out=True)
def go_struct(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    name = camel(variable)[0].upper() + camel(variable)[1:]
    return around(f'cfg := Config{{\n\tRegion: "eu-west-1",\n\t{name}: "{secret}",\n}}\n', secret)


@carrier(held_out=True)
def php(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(
        f"return ['region' => 'eu-west-1', '{snake(variable)}' => '{secret}', 'retries' => 3];\n", secret
    )


@carrier(held_out=True)
def python_repr(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(
        f"environ({{'PATH': '/usr/bin:/bin', '{variable}': '{secret}', 'LANG': 'C.UTF-8'}})\n", secret
    )


# Requests and logs


@carrier()
def query_string(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    form = quote(secret, safe="")
    name = rng.choice((snake, camel))(variable)
    return around(f'10.0.0.7 - - "GET /v1/items?{name}={form}&page=2 HTTP/1.1" 200 512\n', form)


@carrier()
def bearer(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(
        f'curl -sS -H "Authorization: Bearer {secret}" https://api.acme.test/v1/me | jq .id', secret
    )


@carrier()
def api_key_header(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    header = rng.choice(("X-Api-Key", "X-Auth-Token", "Api-Key", "PRIVATE-TOKEN"))
    return around(
        f"curl -X POST -H '{header}: {secret}' -d @body.json https://api.acme.test/v1/items", secret
    )


@carrier()
def log_line(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(
        f"2026-03-0{rng.randint(1, 9)}T12:00:07Z INFO  boot: config {snake(variable)}={secret} retries=3\n",
        secret,
    )


@carrier()
def json_log(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    line = {"level": "info", "msg": "config", camel(variable): secret, "ts": 1772366407.12}
    return around(json.dumps(line, separators=(",", ":")) + "\n", secret)


@carrier(held_out=True)
def http_dump(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(
        f"> GET /v1/me HTTP/2\n> host: api.acme.test\n> authorization: Bearer {secret}\n> accept: */*\n>\n< HTTP/2 200\n",
        secret,
    )


@carrier(held_out=True)
def python_headers(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(
        f'requests.get(url, headers={{"Authorization": "Bearer {secret}", "Accept": "*/*"}}, timeout=5)\n',
        secret,
    )


@carrier()
def cookie(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    if ";" in secret or "," in secret:
        secret = secret.replace(";", "-").replace(",", "-")
    if rng.random() < 0.5:
        return around(f"Set-Cookie: session={secret}; Path=/; HttpOnly; SameSite=Lax\n", secret)
    return around(f"curl -H 'Cookie: theme=dark; sessionid={secret}' https://acme.test/account", secret)


# Values that give themselves away, without a name beside them


@carrier("telling")
def prose(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    lead = rng.choice(("Please try it with", "It answered 401 for", "I pasted", "Use this one:"))
    return around(f"{lead} {secret}{rng.choice(('', '.', ', then tell me what happens.'))}", secret)


@carrier("telling")
def markdown(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(f"1. Open the dashboard\n2. Paste `{secret}` into the form\n3. Save\n", secret)


@carrier("telling")
def escaped_newline(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(f'{{"stdout":"ok\\n{secret}\\ndone","stderr":"","interrupted":false}}', secret)


@carrier("telling")
def coloured(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(f"\x1b[32m✔\x1b[0m created \x1b[1m{secret}\x1b[22m (shown once)\n", secret)


@carrier("telling")
def base64_blob(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    inner = rng.choice((f"{variable}={secret}\n", json.dumps({"region": "eu-west-1", "value": secret})))
    form = base64.b64encode(inner.encode()).decode()
    return around(f"echo {form} | base64 -d > /run/app.conf", form)


@carrier("telling", held_out=True)
def table(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(f"| name | value | age |\n|---|---|---|\n| ci | {secret} | 3d |\n", secret)


@carrier("telling", held_out=True)
def clone_url(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    if secret.startswith("https:") or " " in secret:
        return around(f"opened {secret} in the browser", secret)
    form = quote(secret, safe=":")
    return around(f"git clone https://oauth2:{form}@git.acme.test/team/app.git /srv/app", form)


# A Kubernetes Secret: the kind of the manifest gives its data away, whatever the keys are called


@carrier()
def kubernetes_secret(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    form = base64.b64encode(secret.encode()).decode()
    key = rng.choice((kebab(variable), "config", "value"))
    head = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: app\n  namespace: prod\ntype: Opaque\ndata:\n"
    return around(f"{head}  {key}: {form}\n---\napiVersion: v1\nkind: Service\n", form)


# Passwords


@carrier("password")
def database_url(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    form = quote(secret, safe="")
    scheme = rng.choice(("postgres", "postgresql+psycopg", "mysql", "mongodb+srv", "redis", "amqp", "https"))
    return around(f"DATABASE_URL={scheme}://app:{form}@db.acme.test:5432/app?sslmode=require\n", form)


@carrier("password")
def curl_user(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    user = rng.choice((f"-u 'admin:{secret}'", f"--user 'admin:{secret}'"))
    return around(f"curl -sf {user} https://api.acme.test/v1/status", secret)


@carrier("password")
def mysql_flag(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(f"mysqldump -h db.acme.test -u root -p{shell_word(secret)} app > dump.sql", secret)


@carrier("password")
def basic_auth(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    form = base64.b64encode(f"admin:{secret}".encode()).decode()
    return around(f"GET /v1/me HTTP/1.1\r\nAuthorization: Basic {form}\r\nAccept: */*\r\n", form)


@carrier("password")
def connection_string(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(
        f'"Default": "Server=db.acme.test;Database=app;User Id=sa;Password={secret};Encrypt=true"', secret
    )


@carrier("password")
def sql(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    verb = rng.choice(
        ("CREATE USER app WITH PASSWORD", "ALTER ROLE app PASSWORD", "CREATE USER 'app'@'%' IDENTIFIED BY")
    )
    return around(f"{verb} '{secret}';\nGRANT ALL ON app.* TO app;\n", secret)


@carrier("password")
def netrc(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(f"machine api.acme.test\nlogin deploy\npassword {secret}\n", secret)


@carrier("password", held_out=True)
def setter(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(f'dataSource.setUsername("app");\ndataSource.setPassword("{secret}");\n', secret)


@carrier("password", held_out=True)
def sshpass(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(
        f"sshpass -p {shell_word(secret)} ssh -o StrictHostKeyChecking=no deploy@10.0.0.7 uptime", secret
    )


@carrier("password", held_out=True)
def jdbc(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    form = quote(secret, safe="")
    return around(f"jdbc:postgresql://db.acme.test:5432/app?user=app&password={form}&ssl=true", form)


# Private keys, over many lines


@carrier("private-key")
def key_file(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    return around(f"$ cat ~/.ssh/id_rsa\n{secret}\n$ ls\n", secret)


@carrier("private-key")
def key_in_json(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    form = json.dumps(secret)[1:-1]
    text = f'{{"type": "service_account", "project_id": "acme", "private_key": "{form}\\n", "client_email": "ci@acme.test"}}'
    return around(text, form)


@carrier("private-key")
def key_truncated(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    form = secret[: rng.randint(120, 220)]
    return around(f"$ head -c 4096 key.pem\n{form}\n\n[output truncated]\n", form)


@carrier("private-key")
def key_in_a_diff(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    form = secret.replace("\n", "\n+")
    return around(f"--- /dev/null\n+++ b/key.pem\n@@ -0,0 +1,9 @@\n+{form}\n diff --git a/x b/x\n", form)


@carrier("private-key")
def key_numbered(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    lines = secret.split("\n")
    form = lines[0] + "".join(f"\n{number:>6}→{line}" for number, line in enumerate(lines[1:], 2))
    return around(f"     1→{form}\n", form)


@carrier("private-key", held_out=True)
def key_in_yaml(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    form = secret.replace("\n", "\n    ")
    return around(f"tls:\n  key: |\n    {form}\n  port: 443\n", form)


@carrier("private-key", held_out=True)
def key_in_base64(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    form = base64.b64encode(secret.encode()).decode()
    return around(f"users:\n- name: admin\n  user:\n    client-key-data: {form}\n", form)


@carrier("private-key", held_out=True)
def key_numbered_and_truncated(rng: Random, variable: str, secret: str) -> tuple[str, str, str]:
    lines = secret[:200].split("\n")
    form = lines[0] + "".join(f"\n{number:>6}\t{line}" for number, line in enumerate(lines[1:], 2))
    return around(f"     1\t{form}", form)
