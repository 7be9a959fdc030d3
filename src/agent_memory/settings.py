"""Every setting, with its default and unit: from the environment, the home's `.env`, or its `config.toml`.

A `.env` in the working folder is not read: that folder is a project of the user's, and its DATABASE_URL is
the project's own.
"""

from __future__ import annotations

import secrets
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import quote

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from agent_memory import paths
from agent_memory.errors import AgentMemoryError


class Settings(BaseSettings):
    """The settings in force. Environment before `.env` before `config.toml` before the defaults here."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)
    reads_environment: ClassVar[bool] = True
    """False in the settings that only the home's own files give (`load_from_home`)."""

    database_url: SecretStr | None = None
    """A Postgres 15+ with pgvector, as a URL. None, and no `postgres_host`: the embedded server."""
    postgres_host: str | None = None
    """The host of your own Postgres, where `database_url` is not given. None: the embedded server."""
    postgres_port: int = 5432
    """Its port."""
    postgres_user: str = "agent_memory"
    """Its role for us."""
    postgres_password: SecretStr | None = None
    """That role's password; see `allow_trust_auth`."""
    postgres_db: str = "agent_memory"
    """Its database for us."""

    allow_trust_auth: bool = False
    """Whether a Postgres of your own may be used without a password. False: the service still starts, and says so."""

    require_auth: bool = True
    """Whether REST over TCP asks for a Bearer token. The unix socket's key is its file permissions."""
    trusted_agents: Annotated[tuple[str, ...], NoDecode] = ()
    """The agents that may use the unix socket, such as `claude,codex`, by the name that they give. Empty: all. It only
    narrows: over TCP no name opens anything."""
    rate_limit_writes: int = Field(default=100, ge=0)
    """Requests a minute that change something, for each token over TCP and each session over MCP. 0: no limit."""
    rate_limit_reads: int = Field(default=500, ge=0)
    """Requests a minute that only read, for each token over TCP and each session over MCP. 0: no limit."""
    rate_limit_socket: int = Field(default=12_000, ge=0)
    """Requests a minute of each kind over the unix socket, all callers together. 0: no limit."""
    audit_log_level: Literal["off", "admin", "write", "all"] = "write"
    """What goes into the audit log: `admin`: administration, `write`: also what else changes something, `all`: reading
    too; `off`: nothing."""
    agent_memory_token: SecretStr | None = None
    """The owner's token. None: the one in the home's `token` file, made at the first start."""
    agent_memory_host: str = "127.0.0.1"
    """Only an address of this machine's own loopback is taken."""
    agent_memory_port: int = Field(default=3377, ge=1, le=65535)
    """The port of the REST API and the viewer on this machine."""

    redact_secrets: bool = True
    """Whether keys, tokens, passwords and `<private>` passages are cut out before anything is stored. False: everything
    is stored as it came."""
    output_limit_chars: int = Field(default=20_000, ge=0)
    """How much of a tool call's output is kept, in characters. Its true size is always kept."""

    agent_memory_context: bool = True
    """Whether a session is told at its start what its project was last about. For one project:
    `agent-memory context --off`."""
    agent_memory_context_chars: int = Field(default=2_000, ge=400, le=9_000)
    """How long that may be, in characters, at most."""
    agent_memory_prompt_context: bool = False
    """Whether a session is shown at a prompt what certainly belongs to it. It costs every prompt up to 0.15 seconds."""

    agent_memory_retention_days: int | None = Field(default=None, ge=1)
    """Sessions older than this many days are let go, in projects that `agent-memory retention` says nothing of. None:
    everything is kept."""
    agent_memory_retention_mb: int | None = Field(default=None, ge=1)
    """A project's oldest sessions are let go while it holds more than this many megabytes."""

    agent_memory_finetune_project_share: float = Field(default=0.3, gt=0, le=1)
    """The largest share of a data set's rows that one project may have."""
    agent_memory_finetune_tool_share: float = Field(default=0.2, gt=0, le=1)
    """The largest share of a data set's calls that one tool may have; of a shell's, one program with its subcommand."""
    agent_memory_finetune_multi_turn: float = Field(default=0.2, ge=0, le=1)
    """The least share of a data set's rows in which the model speaks more than once."""

    agent_memory_models_dir: Path | None = None
    """Where the models of training runs lie, such as a larger or slower disk. None: `models` in the home."""

    agent_memory_embedding_url: str | None = None
    """An OpenAI-compatible endpoint up to and without `/embeddings`, such as `http://127.0.0.1:1234/v1`.
    None: the model that comes with the installation."""
    agent_memory_embedding_model: str | None = None
    """The model's name at `agent_memory_embedding_url`, such as `nomic-embed-text`."""
    agent_memory_embedding_api_key: SecretStr | None = None
    """The key that `agent_memory_embedding_url` asks for, if any."""

    @field_validator("trusted_agents", mode="before")
    @classmethod
    def _names(cls, given: object) -> object:
        return (
            [name.strip() for name in given.split(",") if name.strip()] if isinstance(given, str) else given
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        environment = (env_settings,) if cls.reads_environment else ()
        toml = TomlConfigSettingsSource(settings_cls, paths.config_file())
        return (init_settings, *environment, dotenv_settings, toml)

    @cached_property
    def external_database(self) -> str | None:
        """The URL of the user's own Postgres, or None where the embedded server is used."""
        if self.database_url:
            return self.database_url.get_secret_value()
        if self.postgres_host:
            password = self.postgres_password.get_secret_value() if self.postgres_password else ""
            login = quote(self.postgres_user, safe="") + (f":{quote(password, safe='')}" if password else "")
            host = quote(self.postgres_host, safe="")
            return f"postgresql://{login}@{host}:{self.postgres_port}/{quote(self.postgres_db, safe='')}"
        return None


def load() -> Settings:
    """Read the settings afresh. AgentMemoryError where one of them is not what it can be."""
    return _read(Settings)


class _HomeSettings(Settings):
    reads_environment: ClassVar[bool] = False


def load_from_home() -> Settings:
    """Read the settings without the environment: what the home's own `.env` and `config.toml` say."""
    return _read(_HomeSettings)


def _read(kind: type[Settings]) -> Settings:
    try:
        return kind(_env_file=paths.env_file())
    except ValidationError as error:
        told = {str(wrong["loc"][0]): wrong["msg"] for wrong in error.errors(include_input=False)}
        named = "; ".join(f"{name.upper()}: {said[:1].lower()}{said[1:]}" for name, said in told.items())
        raise AgentMemoryError(
            f"A setting cannot be what it is: {named}.",
            f"Correct it in the environment, {paths.env_file()} or {paths.config_file()}.",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AgentMemoryError(
            f"{paths.config_file()} cannot be read: {error}.", "Correct that line; texts stand in quotes."
        ) from None


def unknown() -> list[str]:
    """What stands in the home's `.env` and `config.toml` and is no setting: it is passed over, as a slip of the pen is.
    The home's place itself is decided elsewhere."""
    written = TomlConfigSettingsSource(Settings, paths.config_file()).toml_data.keys()
    named = {name.lower() for name in (*written, *dotenv_values(paths.env_file()))}
    return sorted(named - Settings.model_fields.keys() - {"agent_memory_home"})


def owner_token(settings: Settings) -> str:
    """The owner's Bearer token: the configured one, or the home's `token` file, made here where missing."""
    if settings.agent_memory_token:
        return settings.agent_memory_token.get_secret_value()
    file = paths.token()
    if not file.exists():
        paths.make_private(file.parent)
        draft = file.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(32) + "\n", encoding="utf-8")
        draft.rename(file)
    return file.read_text(encoding="utf-8").strip()
