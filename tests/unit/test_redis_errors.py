"""Which Redis errors pass by themselves, by the answers that servers send."""

import pytest
from redis._parsers.base import BaseParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.sentinel import MasterNotFoundError, Sentinel

from publish_worker_client.servers.redis_errors import is_passing, needs_new_connection, to_text

REPLICA = [
    "READONLY You can't write against a read only replica.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
]
PASSING = [
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "CLUSTERDOWN The cluster is down",
    "EXECABORT Transaction discarded because of previous errors.",
    "LOADING Redis is loading the dataset in memory",
    "MISCONF Errors writing to the AOF file: No space left on device",
    "NOAUTH Authentication required.",
    "NOPERM this user has no permissions to run the 'xadd' command",
    "ERR ACL failure in script: No permissions to access a key script: on @user_script:61.",
    "ERR The user executing the script can't run this command or subcommand script: on @s:1.",
    "NOREPLICAS Not enough good replicas to write.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "WRONGPASS invalid username-password pair or user is disabled.",
    "ERR Protocol error: unauthenticated multibulk length",
    "ERR Protocol error: unauthenticated bulk length",
    "ERR max number of clients reached",
    "ERR invalid password",
]
CAUSED_BY_THE_COMMAND = [
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "NOGROUP No such key 'video.events' or consumer group 'search'",
    "NOSCRIPT No matching script. Please use EVAL.",
    "BUSYGROUP Consumer Group name already exists",
    "ERR unknown command 'XADD2'",
]


@pytest.mark.parametrize("answer", REPLICA + PASSING)
def test_an_answer_about_the_server_is_a_passing_error(answer: str) -> None:
    assert is_passing(BaseParser.parse_error(answer))


@pytest.mark.parametrize("answer", CAUSED_BY_THE_COMMAND)
def test_an_answer_about_the_command_is_not_a_passing_error(answer: str) -> None:
    assert not is_passing(BaseParser.parse_error(answer))


@pytest.mark.parametrize("error", [RedisConnectionError("refused"), RedisTimeoutError("5 s")])
def test_a_lost_connection_and_a_time_out_are_passing_errors(error: Exception) -> None:
    assert is_passing(error)


def test_other_errors_are_not_passing_errors() -> None:
    assert not is_passing(DataError("Invalid input"))
    assert not is_passing(ValueError("READONLY"))


@pytest.mark.parametrize("answer", REPLICA)
def test_a_replica_s_answer_needs_a_new_connection(answer: str) -> None:
    assert needs_new_connection(BaseParser.parse_error(answer))


@pytest.mark.parametrize("answer", PASSING + CAUSED_BY_THE_COMMAND)
def test_other_answers_keep_the_connection(answer: str) -> None:
    assert not needs_new_connection(BaseParser.parse_error(answer))


def test_an_error_of_sentinels_names_no_client() -> None:
    with pytest.raises(MasterNotFoundError) as raised:
        Sentinel([("127.0.0.1", 1)], sentinel_kwargs={"password": "secret"}).discover_master("m")
    assert "ConnectionPool" in str(raised.value)
    assert to_text(raised.value) == "No master found for 'm'"
