"""What a person is told to do if another kind of server is at the address of a setting."""

import psycopg
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

from worker.runtime.broker_errors import explain_broker
from worker.runtime.explanations import explain_database
from worker.runtime.redis_explanations import explain_redis


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InvalidResponse('Protocol error, got "H" as reply type byte'), "Another kind of server"),
        (RedisConnectionError("Connection closed by server."), "rediss://"),
        (RedisConnectionError("[SSL: WRONG_VERSION_NUMBER] wrong version number"), "redis://"),
        (RedisConnectionError("Error -2 … Name or service not known."), "Correct the host in"),
        (RedisConnectionError("Error 111 … Connection refused."), "Start the server"),
    ],
)
def test_a_wrong_address_of_redis_is_named(error: InvalidResponse, words: str) -> None:
    assert words in explain_redis(error).remedy
    assert words in explain_broker(error).remedy


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("received invalid response to SSL negotiation: H", "Another kind of server"),
        ("server does not support SSL, but SSL was required", "sslmode"),
    ],
)
def test_a_wrong_address_of_the_database_is_named(answer: str, words: str) -> None:
    assert words in explain_database(psycopg.OperationalError(answer)).remedy
