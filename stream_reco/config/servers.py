"""Settings of external servers (Kafka, Redis) and of a worker's own folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta
from platformdirs import user_state_path

from stream_reco.redis.address import address_of, without_credentials

# What topics, consumer groups, transactions and keys may all begin with.
Prefix = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,150}$")]
Days = Annotated[float, Meta(gt=0, le=36_500)]
# Kafka itself refuses more for sessions; a transaction may take no longer than 15 minutes.
Seconds = Annotated[float, Meta(ge=1, le=900)]


@dataclass(frozen=True)
class KafkaSettings:
    """Where Kafka is, how to log in, and the defaults of new topics."""

    bootstrap: str = ""
    """Brokers to ask first, as `host:port,host:port`; empty: there is no Kafka."""
    prefix: Prefix = "stream-reco"
    """What the names of topics, consumer groups and transactions begin with."""
    partitions: Annotated[int, Meta(ge=1, le=10_000)] = 12
    """Partitions of new topics: how many workers of one kind can share the work."""
    replication: Annotated[int, Meta(ge=0, le=100)] = 0
    """Copies of each partition of new topics; 0: three, or as many as there are brokers."""
    session_seconds: Seconds = 10.0
    """Session timeout: a worker silent for longer loses its partitions to others, and its transaction is aborted."""
    events_days: Days = 30.0
    """How long events are kept; longer than events may be late, or a worker that was away misses some."""
    examples_days: Days = 30.0
    """How long examples are kept; a trainer that was away for longer misses some."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Whether to encrypt (SSL) and to give a name and a password (SASL)."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    """How the password is proved."""
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False, metadata={"secret": True})
    """Best given as an environment variable."""
    ca_file: str | None = None
    """Certificates that the brokers' own are checked against (PEM); those of the system if not given."""
    cert_file: str | None = None
    """Our certificate, where brokers ask for one (PEM)."""
    key_file: str | None = None
    """Its private key (PEM)."""

    def __post_init__(self) -> None:
        if self.bootstrap:
            for address in self.bootstrap.split(","):
                _check_address(address.strip())
        uses_sasl, uses_tls = self.security_protocol.startswith("SASL"), self.security_protocol.endswith("SSL")
        if uses_sasl and not (self.sasl_username and self.sasl_password):
            raise ValueError(
                f"security_protocol is {self.security_protocol}, which needs sasl_username and sasl_password"
            )
        if not uses_sasl and (self.sasl_username or self.sasl_password):
            raise ValueError(
                f"sasl_username or sasl_password is set, but security_protocol {self.security_protocol} uses neither;"
                " set it to SASL_SSL"
            )
        if not uses_tls and (self.ca_file or self.cert_file or self.key_file):
            raise ValueError(
                f"ca_file, cert_file or key_file is set, but security_protocol {self.security_protocol} does not"
                " encrypt; set it to SSL or SASL_SSL"
            )
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("cert_file and key_file are set together or not at all")

    @property
    def session_ms(self) -> int:
        return round(self.session_seconds * 1000)


def _check_address(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not (port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"{address!r} is no address of a broker: give host:port,host:port, such as 127.0.0.1:9092")


@dataclass(frozen=True)
class RedisSettings:
    """Where Redis is, how to log in, and our keys."""

    url: str = field(default="", repr=False, metadata={"secret": without_credentials})
    """Its address; empty: there is no Redis."""
    prefix: Prefix = "stream-reco"
    """What our keys begin with."""
    user_days: Days = 90.0
    """Days without an action after which a user's state expires."""
    password: str | None = field(default=None, repr=False, metadata={"secret": True})
    """Instead of one in the address; best given as an environment variable."""
    sentinel_username: str | None = None
    """The name that sentinels ask for, which is theirs and not that of Redis."""
    sentinel_password: str | None = field(default=None, repr=False, metadata={"secret": True})
    """The password that sentinels ask for; best given as an environment variable."""

    def __post_init__(self) -> None:
        if self.url or self.sentinel_username or self.sentinel_password:
            address_of(self)


@dataclass(frozen=True)
class StateSettings:
    """A worker's own disk: copies of what Kafka holds, rebuilt where they are lost."""

    dir: str = ""
    """The folder; empty: one in the user's folder for state. Two processes may not share it."""

    @property
    def path(self) -> Path:
        """The folder in use."""
        return Path(self.dir) if self.dir else user_state_path("stream-reco")


@dataclass(frozen=True)
class WorkSettings:
    """Monitoring of workers."""

    metrics_host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    """Address on which a worker answers `/metrics`. It asks for no token: metrics are counts, without ids."""
    metrics_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """Its TCP port; 0 takes a free one, which is logged."""


def given(value: str, name: str, why: str) -> str:
    """The value of the setting `name`. Raises ValueError, which says `why` it is needed, where it is empty."""
    if not value:
        raise ValueError(f"{name} is not set: {why} (STREAM_RECO_{name.replace('.', '_').upper()})")
    return value
