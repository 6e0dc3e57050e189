"""Redis clients: a server that has become a replica is left."""

from collections.abc import Callable

import pytest
from redis import Redis
from redis.exceptions import ReadOnlyError

from tests.support.valkey import Valkey
from worker.runtime.redis_clients import open_hint_redis, open_redis


@pytest.mark.parametrize("connect", [open_redis, open_hint_redis])
def test_a_client_connects_again_where_its_server_has_become_a_replica(
    valkey: Valkey, connect: Callable[[str], Redis]
) -> None:
    with connect(valkey.url) as client:
        before = client.client_id()
        valkey.client.replicaof("127.0.0.1", "1")
        with pytest.raises(ReadOnlyError):
            client.set("a", 1)
        assert client.client_id() != before


@pytest.mark.parametrize("connect", [open_redis, open_hint_redis])
def test_a_client_keeps_its_connection_after_an_error_of_the_command(
    valkey: Valkey, connect: Callable[[str], Redis]
) -> None:
    with connect(valkey.url) as client:
        before = client.client_id()
        client.set("a", "text")
        with pytest.raises(Exception, match="not an integer"):
            client.incr("a")
        assert client.client_id() == before
