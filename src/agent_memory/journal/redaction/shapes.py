"""The shapes of the providers' keys and tokens, as they publish them: a prefix, then a random body.

Bodies may be shorter than issued ones: half a token in a cut output is still nobody's business, and no ordinary text
has these prefixes before a random body.
"""

from __future__ import annotations

import re
from typing import NamedTuple

HEX, WORD, ALNUM, B64 = "[0-9a-f]", r"[A-Za-z0-9_\-]", "[A-Za-z0-9]", "[A-Za-z0-9+/]"
UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


class Shape(NamedTuple):
    kind: str
    prefixes: str
    """Literal, one a word; each begins the token unless `lead` says otherwise."""
    body: str
    lead: str = ""
    """What stands before the prefix and belongs to the token."""


SHAPES = (
    # Clouds
    Shape("aws-access-key-id", "AKIA ASIA ABIA ACCA", "[A-Z0-9]{16}(?![A-Za-z0-9])"),
    Shape("google-api-key", "AIza", f"{WORD}{{30,}}"),
    Shape("google-oauth-token", "ya29.", rf"{WORD}{{20,}}"),
    Shape("google-refresh-token", "1//0", rf"{WORD}{{30,}}"),
    Shape("google-client-secret", "GOCSPX-", f"{WORD}{{20,}}"),
    Shape("azure-client-secret", "Q~", r"[A-Za-z0-9_~.\-]{31,34}", lead=r"[A-Za-z0-9_~.\-]{3}\d"),
    Shape("alibaba-access-key-id", "LTAI", f"{ALNUM}{{16,20}}(?!{ALNUM})"),
    Shape("tencent-secret-id", "AKID", f"{ALNUM}{{32}}(?!{ALNUM})"),
    Shape("yandex-token", "AQVN t1.9eu", rf"{WORD}{{35,}}(?:\.{WORD}+)?"),
    Shape("digitalocean-token", "dop_v1_ doo_v1_ dor_v1_", f"{HEX}{{32,}}"),
    Shape("heroku-key", "HRKU-", f"{WORD}{{20,}}"),
    Shape("fly-token", "fo1_", f"{WORD}{{40,}}"),
    Shape("netlify-token", "nfp_ nfc_ nfo_", f"{ALNUM}{{30,}}"),
    Shape("vercel-token", "vcp_ vci_ vca_ vcr_ vck_", f"{WORD}{{30,}}"),
    Shape("render-key", "rnd_", f"{ALNUM}{{28,}}"),
    Shape("scaleway-key", "SCW", "[A-Z0-9]{17}(?![A-Za-z0-9])"),
    Shape("cloudflare-token", "v1.0-", f"{HEX}{{24}}-{HEX}{{100,}}"),
    Shape("cloudflare-token", "cfut_ cfat_ cfk_ cfast_", f"{WORD}{{30,}}"),
    Shape("databricks-token", "dapi dose dkea", f"{HEX}{{32}}"),
    Shape("supabase-token", "sbp_ sb_secret_", f"{WORD}{{20,}}"),
    Shape("planetscale-token", "pscale_tkn_ pscale_pw_ pscale_oauth_", r"[\w.\-=]{20,}[\w=-]"),
    Shape("neon-token", "napi_", f"{ALNUM}{{40,}}"),
    Shape("mongodb-secret", "mdb_sa_sk_", f"{WORD}{{20,}}"),
    # Our own
    Shape("agent-memory-token", "agmem_", f"{WORD}{{20,}}"),
    # Code hosts, registries, build
    Shape("github-token", "ghp_ gho_ ghu_ ghs_ ghr_", f"{ALNUM}{{16,}}"),
    Shape("github-token", "github_pat_", r"\w{20,}"),
    Shape(
        "gitlab-token",
        "glpat- gldt- glrt- glcbt- glptt- glft- glimt- glagent- gloas- glsoat- glffct- glwt-",
        rf"{WORD}{{16,}}(?:\.[0-9a-z.]+)?",
    ),
    Shape("gitlab-runner-token", "GR1348941", f"{WORD}{{16,}}"),
    Shape("bitbucket-token", "ATBB ATCTT3", r"[A-Za-z0-9_\-=]{24,}"),
    Shape("atlassian-token", "ATATT3", r"[A-Za-z0-9_\-=]{40,}"),
    Shape("npm-token", "npm_", f"{ALNUM}{{30,}}"),
    Shape("pypi-token", "pypi-", "A[A-Za-z0-9_-]{40,}"),
    Shape("rubygems-key", "rubygems_", f"{HEX}{{32,}}"),
    Shape("crates-token", "cio", f"{ALNUM}{{32}}(?!{ALNUM})"),
    Shape("nuget-key", "oy2", "[a-z0-9]{43}(?![A-Za-z0-9])"),
    Shape("clojars-token", "CLOJARS_", "[a-f0-9]{40,}"),
    Shape("docker-token", "dckr_pat_ dckr_oat_", f"{WORD}{{20,}}"),
    Shape("artifactory-key", "AKCp", f"{ALNUM}{{60,}}"),
    Shape("artifactory-token", "cmVmdGtuO", f"{ALNUM}{{40,}}"),
    Shape("circleci-token", "CCIPAT_ CCIPRJ_", f"{WORD}{{30,}}"),
    Shape("buildkite-token", "bkua_ bkct_ bkaa_ bkaj_ bkar_ bkpt_ bkpat_ bkps_", f"{WORD}{{30,}}"),
    Shape("sonarqube-token", "squ_ sqp_ sqa_", f"{HEX}{{32,}}"),
    Shape("terraform-token", ".atlasv1.", rf"{WORD}{{40,}}", lead=f"{ALNUM}{{14}}"),
    Shape("pulumi-token", "pul-", f"{HEX}{{40}}"),
    Shape("vault-token", "hvs. hvb. hvr.", f"{WORD}{{20,}}"),
    Shape(
        "doppler-token",
        "dp.pt. dp.st. dp.ct. dp.sa. dp.scim. dp.audit. dp.said.",
        rf"(?:[a-z0-9_\-]{{2,35}}\.)?{ALNUM}{{30,}}",
    ),
    Shape("1password-token", "ops_eyJ", r"[A-Za-z0-9+/_\-]{60,}={0,3}"),
    Shape(
        "1password-secret-key",
        "A3-",
        "[A-Z0-9]{6}-[A-Z0-9]{6}-?[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}",
    ),
    Shape("age-key", "AGE-SECRET-KEY-1", "[A-Z0-9]{30,}"),
    Shape("tailscale-key", "tskey-", rf"[a-z]+-{WORD}{{16,}}"),
    Shape("openshift-token", "sha256~", f"{WORD}{{40,}}"),
    Shape("prefect-token", "pnu_", f"{ALNUM}{{30,}}"),
    Shape("postman-key", "PMAT-", f"{ALNUM}{{20,}}"),
    Shape("packagist-token", "packagist_ort_ packagist_out_ packagist_acs_ packagist_ack_", f"{HEX}{{24,}}"),
    Shape("cloudsmith-key", "csa_", f"{HEX}{{30}}{ALNUM}{{6}}"),
    Shape("docker-swarm-token", "SWMTKN-1- SWMKEY-1-", r"[A-Za-z0-9+/\-]{40,}"),
    Shape("cockroach-key", "CCDB1_", f"{WORD}{{40,}}"),
    Shape("astra-token", "AstraCS:", r"[\w:\-]{20,}"),
    Shape("deno-token", "ddp_ ddo_", f"{ALNUM}{{32,}}"),
    Shape("elastic-key", "essu_", f"{WORD}{{50,}}={{0,2}}"),
    Shape("upcloud-token", "ucat_", f"{ALNUM}{{24,}}"),
    Shape("scalingo-token", "tk-us-", f"{WORD}{{40,}}"),
    Shape("runpod-key", "rpa_", f"{ALNUM}{{30,}}"),
    Shape("bitbucket-token", "BBDC-", r"[A-Za-z0-9+/=]{30,}"),
    Shape("sourcegraph-token", "sgp_", rf"(?:[0-9a-f]{{16}}_|local_)?{ALNUM}{{40,}}"),
    Shape("aikido-token", "AIK_CI_ AIK_SECRET_", f"{ALNUM}{{20,}}"),
    Shape("infracost-key", "ico-", f"{ALNUM}{{32}}(?!{ALNUM})"),
    Shape("octopus-key", "API-", "[A-Z0-9]{26,32}(?![A-Za-z0-9])"),
    # Models
    Shape("anthropic-key", "sk-ant-", f"{WORD}{{16,}}"),
    Shape("openrouter-key", "sk-or-", f"{WORD}{{24,}}"),
    Shape("langfuse-key", "sk-lf-", f"{UUID}"),
    Shape("openai-key", "sk-proj- sk-svcacct- sk-admin- sk-None-", f"{WORD}{{20,}}"),
    Shape("openai-key", "sk-", f"{ALNUM}{{24,}}"),
    Shape("huggingface-token", "hf_ api_org_", f"{ALNUM}{{28,}}"),
    Shape("groq-key", "gsk_", f"{ALNUM}{{30,}}"),
    Shape("xai-key", "xai-", f"{ALNUM}{{40,}}"),
    Shape("perplexity-key", "pplx-", f"{ALNUM}{{30,}}"),
    Shape("replicate-token", "r8_", f"{ALNUM}{{30,}}"),
    Shape("nvidia-key", "nvapi-", f"{WORD}{{40,}}"),
    Shape("cerebras-key", "csk-", f"{ALNUM}{{32,}}"),
    Shape("fireworks-key", "fw_", f"{ALNUM}{{22,}}"),
    Shape("together-key", "tgp_v1_", f"{WORD}{{30,}}"),
    Shape("voyage-key", "pa-", f"{WORD}{{43}}(?!{WORD})"),
    Shape("jina-key", "jina_", f"{WORD}{{40,}}"),
    Shape("pinecone-key", "pcsk_", f"{WORD}{{40,}}"),
    Shape("langsmith-key", "lsv2_pt_ lsv2_sk_", rf"{HEX}{{32}}(?:_{HEX}+)?"),
    Shape("tavily-key", "tvly-", f"{WORD}{{24,}}"),
    Shape("firecrawl-key", "fc-", f"{HEX}{{32}}(?!{ALNUM})"),
    Shape("cursor-key", "key_", f"{HEX}{{64}}"),
    Shape("devin-key", "apk_user_ cog_", r"[A-Za-z0-9+/]{50,}={0,2}"),
    Shape("llamacloud-key", "llx-", f"{ALNUM}{{40,}}"),
    Shape("mem0-key", "m0-", f"{ALNUM}{{24,44}}(?!{WORD})"),
    Shape("wandb-key", "wandb_v1_", r"\w{40,}"),
    Shape("apify-token", "apify_api_", f"{ALNUM}{{30,}}"),
    Shape("elevenlabs-key", "sk_", f"{HEX}{{48}}(?!{ALNUM})"),
    Shape("brave-key", "BSA", f"{WORD}{{28}}(?!{WORD})"),
    # Chat and mail
    Shape(
        "slack-token",
        "xoxb- xoxp- xoxa- xoxe- xoxe.xoxb- xoxe.xoxp- xoxo- xoxr- xoxs- xoxc- xoxd-",
        r"[A-Za-z0-9\-%+/=]{16,}",
    ),
    Shape("slack-token", "xapp-", r"\d-[A-Za-z0-9\-]{16,}"),
    Shape("discord-token", "MT Mj Mz ND NT Nj Nz OD OT", rf"{WORD}{{20,28}}\.{WORD}{{6}}\.{WORD}{{25,}}"),
    Shape("telegram-token", ":AA", f"{WORD}{{30,35}}(?!{WORD})", lead=r"(?<!\d)\d{8,11}"),
    Shape("sendgrid-key", "SG.", rf"{WORD}{{16,}}\.{WORD}{{16,}}"),
    Shape("mailgun-key", "key-", f"{HEX}{{32}}(?!{ALNUM})"),
    Shape("mailchimp-key", "-us", r"\d{1,2}(?![A-Za-z0-9\-])", lead=f"{HEX}{{32}}"),
    Shape("brevo-key", "xkeysib- xsmtpsib-", f"{HEX}{{40,}}-{ALNUM}{{10,}}"),
    Shape("resend-key", "re_", f"{ALNUM}{{8}}_{ALNUM}{{20,}}"),
    Shape("twilio-key", "SK", f"{HEX}{{32}}(?!{ALNUM})"),
    # Money and shops
    Shape("stripe-key", "sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_", f"{ALNUM}{{16,}}"),
    Shape("stripe-webhook-secret", "whsec_", f"{B64}{{24,}}={{0,2}}"),
    Shape("square-token", "sq0atp- sq0csp- sq0idp-", f"{WORD}{{20,}}"),
    Shape("square-token", "EAAA", f"{WORD}{{56,}}"),
    Shape("facebook-token", "EAAC EAAG EAAM EAAB", f"{ALNUM}{{80,}}"),
    Shape("paypal-token", "access_token$production$", rf"\w+\${HEX}{{32}}"),
    Shape("plaid-token", "access-sandbox- access-development- access-production-", UUID),
    Shape("razorpay-key", "rzp_live_ rzp_test_", f"{ALNUM}{{14,}}"),
    Shape("flutterwave-key", "FLWSECK", rf"(?:_TEST)?-{WORD}{{12,}}"),
    Shape("paddle-key", "pdl_live_apikey_ pdl_sdbx_apikey_", r"\w{40,}"),
    Shape("xendit-key", "xnd_production_ xnd_development_", f"{ALNUM}{{40,}}"),
    Shape("polar-token", "polar_at_ polar_oat_ polar_pat_", f"{WORD}{{20,}}"),
    Shape("ramp-secret", "ramp_sec_", f"{ALNUM}{{40,}}"),
    Shape("shippo-token", "shippo_live_ shippo_test_", f"{HEX}{{32,}}"),
    Shape("klaviyo-key", "pk_", f"(?:{HEX}{{34}}|[a-z0-9]{{34}})(?!{WORD})"),
    Shape("shopify-token", "shpat_ shpca_ shppa_ shpss_ shptka_", f"{ALNUM}{{24,}}"),
    Shape("easypost-key", "EZAK EZTK", f"{ALNUM}{{50,}}"),
    Shape("duffel-token", "duffel_live_ duffel_test_", f"{WORD}{{30,}}"),
    # Work and watching
    Shape("notion-token", "ntn_", f"{ALNUM}{{40,}}"),
    Shape("notion-token", "secret_", f"{ALNUM}{{43}}(?!{ALNUM})"),
    Shape("linear-key", "lin_api_ lin_oauth_", f"{ALNUM}{{30,}}"),
    Shape("airtable-token", "pat", rf"{ALNUM}{{14}}\.{HEX}{{40,}}"),
    Shape("hubspot-token", "pat-na pat-eu", rf"\d-{UUID}"),
    Shape("asana-token", "1/ 2/", rf"\d{{12,}}(?:/\d{{12,}})?:{HEX}{{32}}"),
    Shape("figma-token", "figd_ figu_", f"{WORD}{{30,}}"),
    Shape("contentful-token", "CFPAT-", f"{WORD}{{40,}}"),
    Shape("typeform-token", "tfp_", r"[\w.\-]{40,}"),
    Shape("clickup-token", "pk_", r"\d{8,9}_[A-Za-z0-9]{32}"),
    Shape("adobe-secret", "p8e-", f"{ALNUM}{{32}}(?!{ALNUM})"),
    Shape("pinterest-token", "pina_", f"{WORD}{{40,}}"),
    Shape("nylas-key", "nyk_", f"{ALNUM}{{50,}}"),
    Shape("onesignal-key", "os_v2_app_ os_v2_org_", "[a-z2-7]{60,}"),
    Shape("rootly-key", "rootly_", f"{HEX}{{50,}}"),
    Shape("samsara-token", "samsara_api_", f"{ALNUM}{{24,}}"),
    Shape("wakatime-key", "waka_", "[a-z0-9-]{36,}"),
    Shape("valtown-token", "vtwn_", f"{WORD}{{20,}}"),
    Shape("zuplo-key", "zpka_", f"[a-z0-9]{{30,}}_{HEX}{{8}}"),
    Shape("unkey-key", "unkey_", f"{ALNUM}{{20,}}"),
    Shape("lichess-token", "lip_", r"\w{16,}"),
    Shape("postman-key", "PMAK-", f"{HEX}{{24}}-{HEX}{{30,}}"),
    Shape("readme-key", "rdme_", "[a-z0-9]{50,}"),
    Shape("frameio-token", "fio-u-", f"{WORD}{{50,}}"),
    Shape("dropbox-token", "sl.", rf"{WORD}{{100,}}"),
    Shape("sentry-token", "sntrys_ sntryu_ sntrya_ sntryi_", r"[A-Za-z0-9+/=_\-]{40,}"),
    Shape("grafana-token", "glsa_", rf"{ALNUM}{{28,}}(?:_{HEX}{{8}})?"),
    Shape("grafana-token", "glc_", f"{B64}{{32,}}={{0,3}}"),
    Shape("new-relic-key", "NRAK- NRII- NRRA- NRJS-", f"{WORD}{{18,}}"),
    Shape("dynatrace-token", "dt0c01. dt0s01. dt0s16.", r"[A-Z0-9]{20,}\.[A-Z0-9]{40,}"),
    Shape("honeycomb-key", "hcaik_ hcxik_ hcaic_", "[a-z0-9]{40,}"),
    Shape("posthog-key", "phx_", f"{ALNUM}{{30,}}"),
    Shape("logfire-token", "pylf_v", rf"\d_[a-z]+_{ALNUM}{{30,}}"),
    Shape("mapbox-token", "sk.eyJ", rf"{WORD}{{40,}}\.{WORD}{{16,}}"),
    Shape("maxmind-key", "_mmk", f"(?!{WORD})", lead=f"{ALNUM}{{6}}_{ALNUM}{{29}}"),
    # Of no one provider. A JWT may be cut after its claims; a JWE has five parts.
    Shape("jwt", "eyJ", rf"{WORD}{{10,}}\.{WORD}{{10,}}(?:\.{WORD}*){{0,3}}(?<!\.)"),
)

# Bodies of base64, in which a run of token characters may begin far from the prefix: (kind, its beginning, all of it).
BROKEN_SHAPES = (
    (
        "fly-token",
        b"fm2_",
        re.compile(r"fm2_[A-Za-z0-9+/]{40,}={0,3}(?:,fm2_[A-Za-z0-9+/]{40,}={0,3})*"),
    ),
    ("aws-bedrock-key", b"absk", re.compile(r"(?<![A-Za-z0-9])ABSK[A-Za-z0-9+/]{60,}={0,2}")),
)
PASSWORD_HASH = re.compile(
    r"""\$(?:2[abxy]\$\d\d\$[./A-Za-z0-9]{50,53}
        |6\$(?:rounds=\d+\$)?[./A-Za-z0-9]{2,16}\$[./A-Za-z0-9]{60,86}
        |y\$[./A-Za-z0-9]{2,8}\$[./A-Za-z0-9]{2,90}\$[./A-Za-z0-9]{40,43}
        |argon2(?:id|i|d)\$v=\d+\$[\w=,]{5,40}\$[A-Za-z0-9+/]{8,90}\$[A-Za-z0-9+/]{16,90})""",
    re.VERBOSE,
)
