"""Made-up secrets: one shape a kind, filled at random from a seed.

No value here was ever issued by anybody, and none stands in this file: the shapes are the providers' published ones,
the bodies are drawn when the corpus is built.
"""

from __future__ import annotations

import base64
import re
import string
from dataclasses import dataclass
from random import Random

ALPHABETS = {
    "A": string.ascii_letters + string.digits,
    "L": string.ascii_letters,
    "a": string.ascii_lowercase + string.digits,
    "u": string.ascii_uppercase + string.digits,
    "h": "0123456789abcdef",
    "d": string.digits,
    "w": string.ascii_letters + string.digits + "_-",
    "b": string.ascii_letters + string.digits + "+/",
    "2": string.ascii_uppercase + "234567",
    "k": "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
}


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    shape: str
    """Literal text with `{X:n}` for n characters of alphabet X, `{jwt}`, `{pem}` or `{password}`."""
    variables: tuple[str, ...]
    """Names under which people keep it, in the spelling of an environment variable."""
    needs_name: bool = False
    """Nothing in the value itself gives it away."""
    public: str = ""
    """What the value begins with that is no secret and may stay: a webhook's address, a scheme's name."""


KINDS = (
    Kind("aws-access-key-id", "AKIA{2:16}", ("AWS_ACCESS_KEY_ID",)),
    Kind("aws-secret-access-key", "{b:40}", ("AWS_SECRET_ACCESS_KEY", "S3_SECRET_KEY"), needs_name=True),
    Kind("aws-session-token", "{b:212}", ("AWS_SESSION_TOKEN",), needs_name=True),
    Kind("google-api-key", "AIza{w:35}", ("GOOGLE_API_KEY", "MAPS_KEY")),
    Kind("google-oauth-token", "ya29.{w:120}", ("GOOGLE_ACCESS_TOKEN",)),
    Kind("google-client-secret", "GOCSPX-{w:28}", ("GOOGLE_CLIENT_SECRET",)),
    Kind(
        "azure-storage-key", "{b:86}==", ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY"), needs_name=True
    ),
    Kind("azure-client-secret", "{A:3}8Q~{A:34}", ("AZURE_CLIENT_SECRET",)),
    Kind("github-token", "ghp_{A:36}", ("GITHUB_TOKEN", "GH_TOKEN")),
    Kind("github-oauth-token", "gho_{A:36}", ("GITHUB_TOKEN",)),
    Kind("github-app-token", "ghs_{A:36}", ("GITHUB_TOKEN",)),
    Kind("github-user-token", "ghu_{A:36}", ("GITHUB_TOKEN",)),
    Kind("github-refresh-token", "ghr_{A:76}", ("GITHUB_REFRESH_TOKEN",)),
    Kind("github-fine-grained-token", "github_pat_{A:22}_{A:59}", ("GITHUB_TOKEN",)),
    Kind("gitlab-token", "glpat-{w:20}", ("GITLAB_TOKEN", "CI_JOB_TOKEN")),
    Kind("gitlab-runner-token", "glrt-{w:20}", ("RUNNER_TOKEN",)),
    Kind("slack-bot-token", "xoxb-{d:12}-{d:12}-{A:24}", ("SLACK_BOT_TOKEN",)),
    Kind("slack-user-token", "xoxp-{d:12}-{d:12}-{d:12}-{h:32}", ("SLACK_TOKEN",)),
    Kind("slack-app-token", "xapp-1-{u:11}-{d:13}-{h:64}", ("SLACK_APP_TOKEN",)),
    Kind(
        "slack-webhook",
        "https://hooks.slack.com/services/T{u:10}/B{u:10}/{A:24}",
        ("SLACK_WEBHOOK_URL",),
        public="https://hooks.slack.com/services/",
    ),
    Kind("stripe-key", "sk_live_{A:24}", ("STRIPE_SECRET_KEY", "STRIPE_API_KEY")),
    Kind("stripe-restricted-key", "rk_live_{A:99}", ("STRIPE_API_KEY",)),
    Kind("stripe-webhook-secret", "whsec_{A:32}", ("STRIPE_WEBHOOK_SECRET",)),
    Kind("openai-key", "sk-{A:20}T3BlbkFJ{A:20}", ("OPENAI_API_KEY",)),
    Kind("openai-project-key", "sk-proj-{w:74}T3BlbkFJ{w:74}", ("OPENAI_API_KEY",)),
    Kind("anthropic-key", "sk-ant-api03-{w:93}AA", ("ANTHROPIC_API_KEY", "CLAUDE_API_KEY")),
    Kind("anthropic-oauth-token", "sk-ant-oat01-{w:93}AA", ("CLAUDE_CODE_OAUTH_TOKEN",)),
    Kind("openrouter-key", "sk-or-v1-{h:64}", ("OPENROUTER_API_KEY",)),
    Kind("huggingface-token", "hf_{L:34}", ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")),
    Kind("groq-key", "gsk_{A:52}", ("GROQ_API_KEY",)),
    Kind("xai-key", "xai-{A:80}", ("XAI_API_KEY",)),
    Kind("perplexity-key", "pplx-{A:48}", ("PERPLEXITY_API_KEY",)),
    Kind("replicate-token", "r8_{A:37}", ("REPLICATE_API_TOKEN",)),
    Kind("npm-token", "npm_{A:36}", ("NPM_TOKEN", "NODE_AUTH_TOKEN")),
    Kind("pypi-token", "pypi-AgEIcHlwaS5vcmc{w:120}", ("PYPI_TOKEN", "TWINE_PASSWORD")),
    Kind("rubygems-key", "rubygems_{h:48}", ("GEM_HOST_API_KEY",)),
    Kind("docker-token", "dckr_pat_{w:27}", ("DOCKER_PASSWORD", "DOCKERHUB_TOKEN")),
    Kind("twilio-key", "SK{h:32}", ("TWILIO_API_KEY",)),
    Kind("twilio-auth-token", "{h:32}", ("TWILIO_AUTH_TOKEN",), needs_name=True),
    Kind("sendgrid-key", "SG.{w:22}.{w:43}", ("SENDGRID_API_KEY",)),
    Kind("mailgun-key", "key-{h:32}", ("MAILGUN_API_KEY",)),
    Kind("mailchimp-key", "{h:32}-us14", ("MAILCHIMP_API_KEY",)),
    Kind("brevo-key", "xkeysib-{h:64}-{A:16}", ("BREVO_API_KEY",)),
    Kind("digitalocean-token", "dop_v1_{h:64}", ("DIGITALOCEAN_TOKEN",)),
    Kind("discord-token", "MT{A:24}.{w:6}.{w:38}", ("DISCORD_TOKEN", "BOT_TOKEN")),
    Kind(
        "discord-webhook",
        "https://discord.com/api/webhooks/{d:18}/{w:68}",
        ("DISCORD_WEBHOOK",),
        public="https://discord.com/api/webhooks/",
    ),
    Kind("telegram-token", "{d:10}:AA{w:33}", ("TELEGRAM_BOT_TOKEN",)),
    Kind("shopify-token", "shpat_{h:32}", ("SHOPIFY_ACCESS_TOKEN",)),
    Kind("square-token", "sq0atp-{w:22}", ("SQUARE_ACCESS_TOKEN",)),
    Kind("databricks-token", "dapi{h:32}", ("DATABRICKS_TOKEN",)),
    Kind("linear-key", "lin_api_{A:40}", ("LINEAR_API_KEY",)),
    Kind("notion-token", "ntn_{d:11}{A:35}", ("NOTION_TOKEN",)),
    Kind("notion-secret", "secret_{A:43}", ("NOTION_API_KEY",)),
    Kind("postman-key", "PMAK-{h:24}-{h:34}", ("POSTMAN_API_KEY",)),
    Kind("doppler-token", "dp.pt.{A:43}", ("DOPPLER_TOKEN",)),
    Kind("vault-token", "hvs.{w:95}", ("VAULT_TOKEN",)),
    Kind("terraform-token", "{A:14}.atlasv1.{w:67}", ("TFE_TOKEN", "TF_TOKEN_app_terraform_io")),
    Kind("pulumi-token", "pul-{h:40}", ("PULUMI_ACCESS_TOKEN",)),
    Kind("supabase-token", "sbp_{h:40}", ("SUPABASE_ACCESS_TOKEN",)),
    Kind("fly-token", "FlyV1 fm2_{b:160}", ("FLY_API_TOKEN",), public="FlyV1 "),
    Kind("heroku-key", "{h:8}-{h:4}-{h:4}-{h:4}-{h:12}", ("HEROKU_API_KEY",), needs_name=True),
    Kind("cloudflare-token", "{w:40}", ("CLOUDFLARE_API_TOKEN", "CF_API_TOKEN"), needs_name=True),
    Kind("datadog-key", "{h:32}", ("DD_API_KEY", "DATADOG_API_KEY"), needs_name=True),
    Kind("new-relic-key", "NRAK-{u:27}", ("NEW_RELIC_API_KEY",)),
    Kind("sentry-token", "sntryu_{h:64}", ("SENTRY_AUTH_TOKEN",)),
    Kind("grafana-token", "glsa_{A:32}_{h:8}", ("GRAFANA_TOKEN",)),
    Kind("planetscale-token", "pscale_tkn_{w:43}", ("PLANETSCALE_TOKEN",)),
    Kind("figma-token", "figd_{w:40}", ("FIGMA_TOKEN",)),
    Kind("atlassian-token", "ATATT3{w:186}", ("JIRA_API_TOKEN",)),
    Kind("airtable-token", "pat{A:14}.{h:64}", ("AIRTABLE_API_KEY",)),
    Kind("hubspot-token", "pat-na1-{h:8}-{h:4}-{h:4}-{h:4}-{h:12}", ("HUBSPOT_TOKEN",)),
    Kind("tailscale-key", "tskey-auth-{A:12}CNTRL-{A:32}", ("TS_AUTHKEY",)),
    Kind("circleci-token", "CCIPAT_{A:22}_{h:40}", ("CIRCLE_TOKEN",)),
    Kind("sonarqube-token", "squ_{h:40}", ("SONAR_TOKEN",)),
    Kind("age-key", "AGE-SECRET-KEY-1{k:58}", ("SOPS_AGE_KEY",)),
    Kind("jwt", "{jwt}", ("ACCESS_TOKEN", "ID_TOKEN", "SUPABASE_SERVICE_ROLE_KEY")),
    Kind("private-key", "{pem}", ("SSH_PRIVATE_KEY", "TLS_KEY")),
    Kind("django-secret-key", "{django}", ("SECRET_KEY", "DJANGO_SECRET_KEY"), needs_name=True),
    Kind("api-key", "{A:32}", ("API_KEY", "WEATHER_API_KEY", "ALGOLIA_ADMIN_API_KEY"), needs_name=True),
    Kind("signing-secret", "{h:64}", ("JWT_SECRET", "SESSION_SECRET", "ENCRYPTION_KEY"), needs_name=True),
    Kind("password", "{password}", ("DB_PASSWORD", "PASSWORD", "POSTGRES_PASSWORD"), needs_name=True),
)

WORDS = (
    "sunset dragon falcon winter marble copper violet hunter shadow monkey silver garden rocket banjo".split()  # noqa: SIM905
)


def make(kind: Kind, rng: Random) -> str:
    def part(match: re.Match[str]) -> str:
        what = match[1]
        if what == "jwt":
            return json_web_token(rng)
        if what == "pem":
            return pem(rng)
        if what == "password":
            return password(rng)
        if what == "django":
            return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789!@#%^&*(-_=+)", k=50))
        return draw(what, int(match[2]), rng)

    return re.sub(r"\{(\w+)(?::(\d+))?\}", part, kind.shape)


def draw(alphabet: str, length: int, rng: Random) -> str:
    return "".join(rng.choices(ALPHABETS[alphabet], k=length))


def password(rng: Random) -> str:
    """As people choose them, from poor to generated."""
    word = rng.choice(WORDS)
    return rng.choice(
        (
            f"{word}{rng.randint(1, 999)}",
            f"{word.capitalize()}{rng.choice('!#.@')}{rng.randint(10, 9999)}",
            f"{word}-{rng.choice(WORDS)}-{rng.randint(10, 99)}",
            f"{draw('A', 6, rng)}{rng.choice('!?@#%^*')}{draw('A', 6, rng)}",
            draw("A", rng.randint(10, 24), rng),
            f"{word[:2]}{rng.randint(0, 9)}{word[2:]}{rng.choice('!.')}{rng.choice(WORDS).capitalize()}",
        )
    )


def json_web_token(rng: Random) -> str:
    claims = f'{{"sub":"{rng.randint(1, 10**9)}","name":"{rng.choice(WORDS)}","iat":{rng.randint(10**9, 2 * 10**9)}}}'
    header = b'{"alg":"HS256","typ":"JWT"}'
    return f"{unpadded(header)}.{unpadded(claims.encode())}.{draw('w', 43, rng)}"


def unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def pem(rng: Random) -> str:
    label = rng.choice(("RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY"))
    body = [draw("b", 64, rng) for _ in range(rng.randint(3, 12))] + [draw("b", 30, rng) + "=="]
    return "\n".join((f"-----BEGIN {label}-----", *body, f"-----END {label}-----"))
