"""Texts with nothing to hide that look as if they had: hashes, ids, lock files, minified code, code about passwords.

Every one must come back unchanged. Kinds marked `held_out` are kept from the half that the patterns were tuned on.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from redaction_corpus.secrets import WORDS, draw

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


def one_of(name: str, texts: str, *, held_out: bool = False) -> None:
    """A kind whose members are the given lines; @ and # stand for a random word and a random number."""
    lines = [line for line in texts.splitlines() if line.strip()]

    def make(rng: Random) -> str:
        line = rng.choice(lines).replace("\\n", "\n")
        return "".join(
            rng.choice(WORDS) if c == "@" else str(rng.randint(2, 4096)) if c == "#" else c for c in line
        )

    HARMLESS.append(Harmless(name, make, held_out))


def hexadecimal(rng: Random, length: int) -> str:
    return draw("h", length, rng)


def some_uuid(rng: Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def sha512(rng: Random) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(rng.randbytes(8)).digest()).decode()


# Hashes and ids


@harmless()
def git_log(rng: Random) -> str:
    return "\n".join(
        f"{hexadecimal(rng, rng.choice((7, 40)))} {rng.choice(('fix', 'add', 'drop'))} token refresh"
        for _ in range(5)
    )


@harmless()
def git_diff_header(rng: Random) -> str:
    return f"diff --git a/auth/token.py b/auth/token.py\nindex {hexadecimal(rng, 11)}..{hexadecimal(rng, 11)} 100644\n--- a/auth/token.py\n"


@harmless()
def checksum_list(rng: Random) -> str:
    return "\n".join(
        f"{hexadecimal(rng, rng.choice((32, 40, 64, 128)))}  dist/{rng.choice(WORDS)}.tar.gz"
        for _ in range(3)
    )


@harmless()
def identifier(rng: Random) -> str:
    return rng.choice(
        (
            f'{{"id":"msg_01{draw("A", 22, rng)}","type":"message","role":"assistant"}}',
            f'{{"type":"tool_use","id":"toolu_01{draw("A", 22, rng)}","name":"Bash"}}',
            f'"request_id": "req_01{draw("A", 22, rng)}"',
            f"call_{draw('A', 24, rng)} chatcmpl-{draw('A', 29, rng)} resp_{hexadecimal(rng, 48)}",
            f'"session_id":"{some_uuid(rng)}","prompt_id":"{some_uuid(rng)}"',
            f"pi_{draw('A', 24, rng)} cus_{draw('A', 14, rng)} evt_{draw('A', 24, rng)} price_{draw('A', 24, rng)}",
            f"01{draw('u', 24, rng)} {draw('w', 21, rng)} c{draw('a', 24, rng)} {draw('d', 18, rng)}",
            f"i-0{hexadecimal(rng, 16)} sg-0{hexadecimal(rng, 16)} subnet-0{hexadecimal(rng, 16)} ami-0{hexadecimal(rng, 16)}",
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
def container_digest(rng: Random) -> str:
    return rng.choice(
        (
            f"FROM python:3.12-slim@sha256:{hexadecimal(rng, 64)}",
            f"Digest: sha256:{hexadecimal(rng, 64)}\nStatus: Downloaded newer image for postgres:18",
            f'{hexadecimal(rng, 12)}   acme/web:1.4.2   "docker-entrypoint.s…"   2 hours ago   Up 2 hours',
        )
    )


@harmless(held_out=True)
def signature_of_thinking(rng: Random) -> str:
    return json.dumps(
        {"type": "thinking", "thinking": "", "signature": base64.b64encode(rng.randbytes(260)).decode()}
    )


@harmless(held_out=True)
def asset_names(rng: Random) -> str:
    return "\n".join(
        f"dist/assets/{rng.choice(WORDS)}-{draw('w', 8, rng)}.js   {rng.randint(1, 900)}.12 kB │ gzip: 4.01 kB"
        for _ in range(4)
    )


# Lock files


@harmless()
def package_lock(rng: Random) -> str:
    name = rng.choice(
        (
            "js-tokens",
            "jsonwebtoken",
            "csrf-tokens",
            "keyv",
            "passport-http-bearer",
            "cookie",
            "secret-stack",
            rng.choice(WORDS),
        )
    )
    version = f"{rng.randint(0, 9)}.{rng.randint(0, 20)}.{rng.randint(0, 9)}"
    return (
        f'    "node_modules/{name}": {{\n      "version": "{version}",\n'
        f'      "resolved": "https://npm.acme.test/{name}/-/{name}-{version}.tgz",\n      "integrity": "{sha512(rng)}",\n'
        f'      "dependencies": {{ "js-tokens": "^{version}", "token-types": "~{version}" }}\n    }},'
    )


@harmless()
def yarn_lock(rng: Random) -> str:
    name = rng.choice(WORDS)
    return f'{name}@^1.2.3:\n  version "1.2.9"\n  resolved "https://npm.acme.test/{name}/-/{name}-1.2.9.tgz#{hexadecimal(rng, 40)}"\n  integrity {sha512(rng)}\n'


@harmless()
def python_lock(rng: Random) -> str:
    return (
        f'[[package]]\nname = "tokenizers"\nversion = "0.22.{rng.randint(0, 9)}"\nfiles = [\n'
        f'    {{file = "tokenizers-0.22.0-cp39-abi3-win_amd64.whl", hash = "sha256:{hexadecimal(rng, 64)}"}},\n]\n'
        f"secretstorage==3.3.3 --hash=sha256:{hexadecimal(rng, 64)}\n"
    )


@harmless(held_out=True)
def go_sum(rng: Random) -> str:
    digest = base64.b64encode(rng.randbytes(32)).decode()
    return f"golang.org/x/oauth2 v0.2{rng.randint(0, 9)}.0 h1:{digest}\ngolang.org/x/oauth2 v0.21.0/go.mod h1:{digest}\n"


@harmless(held_out=True)
def cargo_lock(rng: Random) -> str:
    return f'[[package]]\nname = "secrecy"\nversion = "0.10.3"\nsource = "registry+https://github.com/rust-lang/crates.io-index"\nchecksum = "{hexadecimal(rng, 64)}"\n'


@harmless(held_out=True)
def nix_and_pnpm(rng: Random) -> str:
    return f'sha256 = "sha256-{base64.b64encode(rng.randbytes(32)).decode()}";\n  resolution: {{integrity: {sha512(rng)}}}\n'


# Encodings


@harmless()
def image(rng: Random) -> str:
    png = b"\x89PNG\r\n\x1a\n" + rng.randbytes(rng.randint(90, 900))
    return f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="logo">'


@harmless()
def base64_text(rng: Random) -> str:
    words = " ".join(rng.choices(WORDS, k=12))
    return f"Content-Transfer-Encoding: base64\n\n{base64.b64encode(words.encode()).decode()}\n"


@harmless()
def public_key(rng: Random) -> str:
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
        f"{line * 16:08x}  {rng.randbytes(8).hex(' ')}  {rng.randbytes(8).hex(' ')}  |................|"
        for line in range(4)
    )


# Code


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
        for a, b in zip(names, names[1:], strict=False)
    )
    return f"!function(){{{body}}}();\n//# sourceMappingURL=app.{hexadecimal(rng, 8)}.js.map"


one_of(
    "python_code",
    """
token = get_token()
token = self._next_token(@)
password: str
password: str | None = None
    password: SecretStr = Field(..., min_length=8)
if token is None: return @
secret_key = os.environ["SECRET_KEY"]
API_KEY = os.getenv("API_KEY", "")
api_key = settings.api_key
password = args.password or getpass.getpass("Password: ")
def login(user: str, password: str, token: str = "") -> Token:
headers = {"Authorization": f"Bearer {token}", "X-Api-Key": api_key}
headers["Authorization"] = "Bearer " + access_token
client = Client(api_key=api_key, token=token, password=password)
return Client(token=self.token, secret=secret, timeout=#)
    token=token,\n    password=password,\n)
assert response.json()["token"] == token
tokens = tokenizer.encode(text, max_tokens=#)
password_hash = bcrypt.hashpw(password.encode(), salt)
raise ValueError("password must be at least # characters long")
class TokenType(Enum):\n    KEYWORD = "keyword"\n    PASSWORD = "password"
for key, value in secrets.items():
key = f"{prefix}:{user_id}:{@}"
cache_key = "user:profile:#:v2"
auth = HTTPBasicAuth(username, password)
token_count = len(tokens)
eos_token = "<|endoftext|>"
tokenizer = AutoTokenizer.from_pretrained("bert-base-uncased")
secret = secrets.token_hex(32)
credentials = service_account.Credentials.from_service_account_file(path)
passwords = [p for p in candidates if len(p) >= #]
PASSWORD_FIELD = "password"
self.password = password
monkeypatch.delenv("API_TOKEN", raising=False)
""",
)

one_of(
    "javascript_code",
    """
const token = await getToken();
const { password, token } = req.body;
const password = req.body.password;
const apiKey = process.env.OPENAI_API_KEY;
interface Login { user: string; password: string; token?: string }
password: string;
  token: string | null;
let secret: string | undefined = undefined;
headers: { Authorization: `Bearer ${token}`, 'X-Api-Key': apiKey },
axios.defaults.headers.common['Authorization'] = 'Bearer ' + token;
export const selectToken = (state) => state.auth.token;
<input type="password" name="password" placeholder="Password" autoComplete="current-password" />
<label htmlFor="password">Password</label>
if (token === null || token.type === 'Identifier') return @;
const key = keys[#];
onKeyDown={(event) => event.key === 'Enter' && submit(password)}
passwordRef.current.value = '';
password: z.string().min(8).max(#),
token: jwt.sign({ id: user.id }, process.env.JWT_SECRET, { expiresIn: '1d' }),
document.cookie.split('; ').find((row) => row.startsWith('theme='))
import { tokenize, TokenKind } from './tokens';
case 'password': return validatePassword(value);
{ "type": "password", "label": "Password", "required": true }
"forgotPassword": "Forgot your password?",
"password": "Password",
"passwordHint": "Use 8 or more characters with a mix of letters, numbers & symbols",
""",
)

one_of(
    "other_code",
    """
password := os.Getenv("DB_PASSWORD")
token, err := auth.NewToken(ctx, key)
let token = self.lexer.next_token()?;
pub struct Login { pub user: String, pub password: String }
password: &str,
let secret: Vec<u8> = Vec::new();
String password = request.getParameter("password");
private final String apiKey;
this.password = passwordEncoder.encode(password);
$password = $_POST['password'];
public string Password { get; set; }
password VARCHAR(255) NOT NULL,
token TEXT UNIQUE, secret BYTEA NOT NULL, key UUID PRIMARY KEY
SELECT id, password FROM users WHERE token = $1 AND key = :key
ALTER TABLE users ADD COLUMN password_hash text;
type Mutation { login(email: String!, password: String!): Token! }
@password_field = params[:password]
has_secure_token :auth_token
.token.keyword { color: #07a; } .password-input { width: 100%; }
.secret::before { content: "\\\\201C"; key: @; }
--token-color: #ff#; --key-size: #px;
""",
)

one_of(
    "references",
    """
PASSWORD=$PASSWORD
DB_PASSWORD=${DB_PASSWORD}
export API_KEY="$(pass show acme/api)"
TOKEN=$(gh auth token)
API_KEY=<your-api-key>
api_key: YOUR_API_KEY
OPENAI_API_KEY=sk-...
ANTHROPIC_API_KEY=your_key_here
token: ${{ secrets.GITHUB_TOKEN }}
password: "{{ vault_db_password }}"
password = var.db_password
secret_key = data.aws_ssm_parameter.secret.value
curl -H "Authorization: Bearer $TOKEN" https://api.acme.test/v1/me
curl -H "Authorization: Bearer <token>" https://api.acme.test/v1/me
curl -u "$USER:$PASS" https://api.acme.test/v1/me
docker run -e POSTGRES_PASSWORD -e API_KEY=$API_KEY acme/web
mysql -u root -p app < dump.sql
postgres://user:${PGPASSWORD}@localhost:5432/app
postgres://$USER:$PASS@$HOST/app
POSTGRES_PASSWORD_FILE=/run/secrets/db_password
secretKeyRef:\n  name: app-secrets\n  key: db-password
env:\n  - name: API_KEY\n    valueFrom:\n      secretKeyRef: {name: app, key: api-key}
secrets: inherit
secretName: wildcard-tls
password: ********
token: [hidden]
password=%s token=%s
""",
)

# Prose and tools' output

one_of(
    "prose",
    """
token count: #
max_tokens=#
The key: value pairs are sorted; the token: a word or a sign.
Passwords: see the wiki. Secrets: never in git. Keys: in the safe.
Password: the one we agreed on
Bearer token authentication is described in section #.
Basic authentication needs a user and a password, see RFC 7617.
The password is required and must have at least 8 characters.
The --password option takes a value; --token NAME names it, --api-key is read from the environment.
I changed the secret handling so that the token is refreshed every # minutes.
Set the API key in the settings page, then restart the @ service.
What is the password policy? key=value, one a line.
It costs # tokens: input # tokens, output # tokens, cache read # tokens.
You can cookie: the dough needs # minutes. Cookie policy: accepted.
monkey: banana, turkey: stuffing, keyboard: qwerty, passenger: window
Error: Invalid token in JSON at position #
fatal: could not read Password for 'https://git.acme.test': terminal prompts disabled
error: unexpected token: '}' (line #)
Permission denied (publickey,password).
""",
)

one_of(
    "usage",
    """
{"input_tokens":#,"cache_creation_input_tokens":#,"cache_read_input_tokens":#,"output_tokens":#}
"max_tokens": #, "tokenizer": "cl100k_base", "stop_token": null
"token_type": "bearer", "expires_in": #, "refresh_token": null
  --password PASSWORD   the password of the database user\n  --token TOKEN   an access token
PASS tests/auth/password.test.ts (#.12 s)\n  ✓ rejects a short password (# ms)
tests/unit/test_tokens.py::test_password_reset_token_expires_after_24h PASSED [ #%]
tests/test_auth.py::test_login[wrong-password-401] PASSED
pass: #\nfail: 0\npwd: /home/dev/@/app
PWD=/home/dev/@/app\nOLDPWD=/home/dev\nSHLVL=1
{"type":"object","properties":{"password":{"type":"string","minLength":8},"token":{"type":"string"}},"required":["password"]}
{"key": "ABC-#", "fields": {"summary": "Token refresh fails", "status": "Open"}}
{"keys": ["Enter", "Escape"], "key": "ctrl+shift+p", "command": "workbench.action.showCommands"}
WARNING: token_expiry=3600 key_length=2048 password_min_length=12 auth_method=ldap
Accepted publickey for deploy from 10.0.0.7 port # ssh2: ED25519
Cookie: theme=dark; lang=en
Set-Cookie: lang=en; Path=/
nextToken: null, key: "item-#"
secret/data/app  path: kv/app  key_id: alias/app-key
""",
)

one_of(
    "places",
    """
https://docs.acme.test/guides/authentication/api-keys-and-tokens?lang=en&section=#
https://github.com/@/@/blob/main/src/auth/password_reset_token_generator.py#L#
http://localhost:3000/@scope/package/v#
git@github.com:@/@.git
mailto:someone@acme.test?subject=password%20reset
postgres://localhost:5432/app
jdbc:postgresql://db.acme.test:5432/app?user=app&ssl=true
/usr/local/lib/python3.12/site-packages/pip/_vendor/urllib3/contrib/securetransport.py
src/main/java/com/acme/security/JwtAuthenticationTokenFilterConfiguration.java:#
node_modules/.pnpm/@babel+helper-validator-identifier@7.25.9/node_modules/js-tokens/index.js
s3://acme-artifacts/builds/2026/03/01/@/app-1.4.#.tar.gz
""",
)


@harmless()
def log(rng: Random) -> str:
    return (
        f"2026-03-01T12:00:0{rng.randint(0, 9)}Z INFO auth: issued token kid={hexadecimal(rng, 8)} user={rng.randint(1, 9999)} "
        f"trace_id={hexadecimal(rng, 32)} span_id={hexadecimal(rng, 16)} ttl=3600"
    )


@harmless()
def css(rng: Random) -> str:
    return "".join(
        f".{rng.choice(WORDS)}-{draw('a', 6, rng)}{{color:#{hexadecimal(rng, 6)};content:'{chr(92)}{hexadecimal(rng, 4)}';margin:{rng.randint(0, 40)}px}}"
        for _ in range(6)
    )


@harmless()
def listing(rng: Random) -> str:
    return "\n".join(
        f"-rw-r--r-- 1 dev dev {rng.randint(100, 99999):>6} Mar  1 12:00 {rng.choice(('password', 'token', 'secret', 'api_key'))}_{rng.choice(WORDS)}.py"
        for _ in range(4)
    )


one_of(
    "more_code",
    """
expect(screen.getByLabelText('Password')).toBeInTheDocument();
it('rejects an expired token', async () => {
token = "".join(random.choices(alphabet, k=#))
password = prompt("Password", hide_input=True)
self.assertEqual(response.data["password"], ["This field is required."])
SECRET_KEY = config("SECRET_KEY", cast=str)
let (key, value) = line.split_once('=').ok_or(Error::BadLine)?;
const passwordSchema = yup.string().required('Password is required');
Authorization: Bearer {{access_token}}
val token: String by lazy { prefs.getString(KEY_TOKEN, null) ?: "" }
ENV["SECRET_KEY_BASE"] || Rails.application.credentials.secret_key_base
token = yield from self.tokens.get()
key = hashlib.sha256(password.encode()).hexdigest()
"confirmPassword": "Confirm password",
password.length < # && setError("too short")
var tokenSource = new CancellationTokenSource();
token == ':' or token == ','
password_confirmation = models.CharField(max_length=128)
""",
    held_out=True,
)

one_of(
    "more_output",
    """
Enter passphrase for key '/home/dev/.ssh/id_ed25519':
sudo: a password is required
remote: Invalid username or token. Password authentication is not supported for Git operations.
npm error code E401 - Incorrect or missing password.
? API token: [input is hidden]
Token usage: total=# input=# (+ # cached) output=# (reasoning #)
aws_access_key_id = ****************ABCD
secret "app-tls" created
NAME        TYPE     DATA   AGE\ndb-secret   Opaque   2      #d
user:x:#:#::/home/user:/bin/bash
token=abc
x-ratelimit-remaining-tokens: #\nx-request-id: req_@
key   = "terraform/@/state.tfstate"
auth: none, cookie: disabled, csrf: on
""",
    held_out=True,
)
