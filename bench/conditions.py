"""When, where and with what is measured: machine, versions, settings."""

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.contenders import CONTENDERS
from bench.report import Table
from bench.setup import Setup
from db.session import transaction

SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
APPEND_ONLY = ("appendonly", "appendfsync")


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What the figures hold for."""

    at: str
    size: str
    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    load: float
    """The load average before anything was measured."""
    versions: dict[str, str]
    settings: dict[str, str]
    contenders: Sequence[str]
    """The packages that are installed, with their versions."""

    def to_json(self) -> dict[str, Any]:
        """Return everything."""
        return asdict(self)

    def to_table(self) -> Table:
        """Return a line for each."""
        return Table(
            title="Conditions",
            head=("", ""),
            rows=[
                ("measured", f"{self.at}, {self.size} size"),
                ("machine", f"{self.cores} cores, {self.memory_gib:.0f} GiB"),
                ("CPU", self.cpu),
                ("kernel", self.kernel),
                ("load average before", f"{self.load:.2f}"),
                *((name, version) for name, version in self.versions.items()),
                *(("contender", each) for each in self.contenders),
                *((name, value) for name, value in self.settings.items()),
                ("workers", "two processes for each system"),
            ],
        )


def read_conditions(setup: Setup, size: str, load: float) -> Conditions:
    """Ask the machine and both engines."""
    with setup.run() as run, transaction(run.engine) as tx:
        names = ("server_version", *SETTINGS)
        server = {name: (tx.execute(f"SHOW {name}").fetchone() or ("",))[0] for name in names}
        valkey: Any = run.redis.info("server")
        for name in APPEND_ONLY:
            config: Any = run.redis.config_get(name)
            server[name] = config[name]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    packages = {each.package: each for each in CONTENDERS.values() if each.is_installed()}
    return Conditions(
        at=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        size=size,
        cpu=_cpu_model(),
        cores=os.cpu_count() or 1,
        memory_gib=memory / 2**30,
        kernel=f"{platform.system()} {platform.release()}",
        load=load,
        versions={
            "Python": platform.python_version(),
            "PostgreSQL": server.pop("server_version").split()[0],
            "Valkey": str(valkey.get("valkey_version", valkey.get("redis_version"))),
        },
        settings=server,
        contenders=sorted(
            f"{package} {each.version()}" for package, each in packages.items() if package
        ),
    )


def _cpu_model() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()
