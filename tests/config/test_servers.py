"""Settings of Kafka, Redis and the state folder: what is accepted, what is refused, and what is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from platformdirs import user_state_path

from stream_reco.config import ConfigError, describe, load
from stream_reco.experiments.replay.report import as_json

HUSH = "hush-hush"


def _load(**environ: str) -> object:
    return load(None, {f"STREAM_RECO_{name}": value for name, value in environ.items()})


def test_public_variables_work() -> None:
    environ = {
        "STREAM_RECO_KAFKA_BOOTSTRAP": "one:9092,[::1]:9093",
        "STREAM_RECO_REDIS_URL": "redis://127.0.0.1:6379/1",
        "STREAM_RECO_STATE_DIR": "worker-3",
    }
    settings = load(None, environ).settings
    assert settings.kafka.bootstrap == "one:9092,[::1]:9093"
    assert settings.redis.url == "redis://127.0.0.1:6379/1"
    assert settings.state.path == Path("worker-3")


def test_nothing_is_set_by_default() -> None:
    settings = load().settings
    assert (settings.kafka.bootstrap, settings.redis.url, settings.state.dir) == ("", "", "")
    assert settings.state.path == user_state_path("stream-reco")
    assert settings.kafka.session_ms == 10_000


@pytest.mark.parametrize("bootstrap", ["kafka", ":9092", "kafka:", "kafka:0", "kafka:99999", "a:1,,b:2", "http://k:1"])
def test_an_address_that_is_none_is_named(bootstrap: str) -> None:
    with pytest.raises(ConfigError, match=r"kafka\.bootstrap = .*no address of a broker: give host:port"):
        _load(KAFKA_BOOTSTRAP=bootstrap)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "rediss://user:pw@h:6380/2",
        "redis://[::1]:6379",
        "redis+sentinel://a:1,b:2/shop/0",
        "redis+cluster://a:1,b:2",
        "unix:///folder/redis.sock",
        "unix://user:pw@/folder/redis.sock?db=2",
    ],
)
def test_addresses_of_redis(url: str) -> None:
    assert load(None, {"STREAM_RECO_REDIS_URL": url}).settings.redis.url == url


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("127.0.0.1:6379", "it begins with one of redis, rediss"),
        ("http://h", "it begins with one of"),
        ("redis://", "names no host"),
        ("redis://:6379", "names no host"),
        ("redis+sentinel://a:1,b:2", "names no service"),
        ("unix://", "names no socket"),
        ("unix:///", "names no socket"),
        ("unix://folder/redis.sock", "names no socket"),
        ("unix:/folder/redis.sock", "names no socket"),
        ("redis://[::1", "no address of Redis"),
    ],
)
def test_an_address_of_redis_that_is_none_is_named(url: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        _load(REDIS_URL=url)


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "needs sasl_username and sasl_password"),
        ({"KAFKA_SASL_USERNAME": "me"}, "uses neither"),
        ({"KAFKA_CA_FILE": "ca.pem"}, "does not encrypt"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_CERT_FILE": "me.pem"}, "together or not at all"),
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL"),
        ({"KAFKA_PREFIX": "my shop"}, "KAFKA_PREFIX"),
        ({"KAFKA_PARTITIONS": "0"}, "KAFKA_PARTITIONS"),
        ({"KAFKA_SESSION_SECONDS": "0"}, "KAFKA_SESSION_SECONDS"),
        ({"KAFKA_EVENTS_DAYS": "0"}, "KAFKA_EVENTS_DAYS"),
        ({"REDIS_SENTINEL_PASSWORD": HUSH}, "names no sentinels"),
        ({"REDIS_SENTINEL_USERNAME": "me", "REDIS_URL": "redis://h"}, "names no sentinels"),
        ({"REDIS_SENTINEL_USERNAME": "me", "REDIS_URL": "redis+sentinel://h/s"}, "without sentinel_password"),
        ({"REDIS_PREFIX": ""} | {"REDIS_USER_DAYS": "-1"}, "REDIS_USER_DAYS"),
    ],
)
def test_what_does_not_fit_is_refused(environ: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        _load(**environ)


def test_the_password_of_sentinels_is_never_shown() -> None:
    url = "redis+sentinel://h/shop"
    loaded = load(None, {"STREAM_RECO_REDIS_URL": url, "STREAM_RECO_REDIS_SENTINEL_PASSWORD": HUSH})
    assert loaded.settings.redis.sentinel_password == HUSH
    assert HUSH not in str(describe(loaded)) + repr(loaded.settings) + str(as_json(loaded.settings))


def test_what_fits_together_is_taken() -> None:
    environ = {
        "STREAM_RECO_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "STREAM_RECO_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "STREAM_RECO_KAFKA_SASL_USERNAME": "me",
        "STREAM_RECO_KAFKA_SASL_PASSWORD": HUSH,
        "STREAM_RECO_KAFKA_CA_FILE": "ca.pem",
    }
    loaded = load(None, environ)
    assert loaded.settings.kafka.sasl_password == HUSH
    assert HUSH not in str(describe(loaded)) + repr(loaded.settings) + str(as_json(loaded.settings))


@pytest.mark.parametrize("url", [f"redis://me:{HUSH}@h:1/0", f"redis://:{HUSH}@h", f"redis://h/0?password={HUSH}&x=1"])
def test_the_password_in_an_address_is_never_shown(url: str) -> None:
    loaded = load(None, {"STREAM_RECO_REDIS_URL": url})
    assert loaded.settings.redis.url == url
    shown = {line.key: line.value for line in describe(loaded)}["redis.url"]
    assert "***" in shown
    assert "redis://" in shown
    assert HUSH not in shown + repr(loaded.settings) + str(as_json(loaded.settings))


@pytest.mark.parametrize("url", [f"http://me:{HUSH}@h", f"redis://:{HUSH}/x@h", f"redis+sentinel://:{HUSH}@h:1"])
def test_a_refused_address_does_not_tell_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(REDIS_URL=url)
    assert HUSH not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        load(None, None, {"redis.url": [HUSH]})
    assert HUSH not in str(caught.value)
