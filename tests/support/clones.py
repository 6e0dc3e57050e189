"""Databases of the tests' server: copies of a template, and their URLs."""

import os
from collections.abc import Generator
from contextlib import contextmanager

import psycopg
from psycopg import sql

CLONE = "CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY"
DROP = "DROP DATABASE {} WITH (FORCE)"


@contextmanager
def cloned(admin: psycopg.Connection, template: str) -> Generator[str]:
    """The name of a copy of a database that has no session; it is dropped at the end."""
    name = f"test_{os.urandom(6).hex()}"
    admin.execute(sql.SQL(CLONE).format(sql.Identifier(name), sql.Identifier(template)))
    yield name
    admin.execute(sql.SQL(DROP).format(sql.Identifier(name)))


def named(url: str, name: str) -> str:
    """The same server's URL with another database."""
    return url.replace("/publish_worker?", f"/{name}?")


def libpq(url: str, name: str) -> str:
    """The same, as libpq spells it."""
    return named(url, name).replace("postgresql+psycopg", "postgresql")
