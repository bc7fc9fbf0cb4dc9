"""The tests' own services and the block on the outside."""

from __future__ import annotations

import socket
from pathlib import Path

import psycopg2
import pytest
from redis import Redis

from tests import commands, outside, running
from tests.services import S3Server, Services


def test_each_database_is_new_and_empty(services: Services) -> None:
    with services.database() as one, services.database() as other:
        assert one != other
        connection = psycopg2.connect(one)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
                assert cursor.fetchone() == (0,)
        finally:
            connection.close()


def test_redis_is_real_and_empty(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")
        assert client.info("server")["redis_version"]


def test_redis_is_emptied_for_the_next_test(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        client.set("left", "behind")
    assert redis_url.startswith("redis://127.0.0.1:")


def test_each_bucket_is_new(s3: S3Server) -> None:
    assert s3.make_bucket() != s3.make_bucket()


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1"])
def test_a_connection_to_another_machine_is_stopped(address: str) -> None:
    with socket.socket() as probe, pytest.raises(outside.OutsideError, match="stay on this machine"):
        probe.connect((address, 80))
    assert outside.attempts
    outside.attempts.clear()


def test_a_name_is_not_looked_up() -> None:
    with pytest.raises(socket.gaierror, match="tests look up no names"):
        socket.create_connection(("upstream.example", 80))


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        (("127.0.0.1", 80), True),
        (("127.8.8.8", 80), True),
        (("localhost", 80), True),
        (("::1", 80, 0, 0), True),
        ("/run/a.sock", True),
        (("0.0.0.0", 80), False),
        (("10.0.0.1", 80), False),
        (("localhost.example", 80), False),
    ],
)
def test_only_loopback_and_unix_sockets_are_inside(address: object, inside: bool) -> None:
    assert outside.is_loopback(address) is inside


def test_a_command_has_its_own_environment_streams_and_status(tmp_path: Path) -> None:
    environment = running.clean_environment() | {"KOSCHEY_DATA_DIR": str(tmp_path / "one")}
    one = commands.koschey("config", "show", environment=environment | {"KOSCHEY_CONTACT": "a@acme.example"})
    other = commands.koschey("config", "show", environment=environment)
    refused = commands.koschey("upstream", "add", "x", "nonsense", environment=environment)
    misspelt = commands.koschey("upstrem", environment=environment)

    assert (one.returncode, other.returncode, refused.returncode, misspelt.returncode) == (0, 0, 1, 2)
    assert "a@acme.example" in one.stdout
    assert "a@acme.example" not in other.stdout
    assert refused.stderr.startswith("koschey: ") or "\nkoschey: " in refused.stderr
    assert "upstrem" in misspelt.stderr
