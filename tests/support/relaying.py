"""A relay as a program, for ever: to be killed at any point. Arguments: Redis, database."""

import sys
import time

from redis import Redis
from redis.exceptions import RedisError

from db.session import connect
from worker.events.redis_stream import relay


def main() -> None:
    redis_url, database_url = sys.argv[1:]
    engine = connect(database_url)
    redis = Redis.from_url(redis_url)
    while True:
        try:
            relay(engine, redis, "http://localhost:8000")
        except RedisError:
            continue
        finally:
            time.sleep(0.01)


if __name__ == "__main__":
    main()
