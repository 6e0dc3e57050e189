"""The services of docker-compose.yml without a docker engine: each with its own command, user,
variables, volumes and health check, in a network namespace of its own, from the image that buildah
has built.
"""

import os
import subprocess
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.support.compose import ROOT, SERVICES, resolve
from tests.support.image import ENGINES, RELEASE, command, config_of, container, make_base
from tests.support.network import Network, network
from tests.support.waiting import wait_until

ENGINE_IMAGE = f"localhost/{ENGINES}:{RELEASE}"
CONFINE = """
mount -t tmpfs -o mode=1777 tmpfs /tmp
test "$1" = writable || mount -o remount,ro,bind /
exec setpriv --reuid="$2" --regid="$3" --clear-groups --inh-caps=-all --bounding-set=-all \
    --no-new-privs env HOME=/nonexistent sh -c 'shift 3; exec "$@"' - "$@"
"""
"""`read_only`, `tmpfs: [/tmp]`, `user`, `cap_drop: [ALL]` and `no-new-privileges`."""
ENTRYPOINTS = {
    "postgres": """
PATH="$(echo /usr/lib/postgresql/*/bin):$PATH" && cd /var/lib/postgresql
echo "$POSTGRES_PASSWORD" > /tmp/password
initdb --pgdata=data --username="$POSTGRES_USER" --pwfile=/tmp/password --encoding=UTF8 \
    --locale=C.UTF-8 --auth-local=trust --auth-host=scram-sha-256
echo "host all all all scram-sha-256" >> data/pg_hba.conf
pg_ctl --pgdata=data --wait --options="-c listen_addresses=" start
createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
pg_ctl --pgdata=data --wait stop
exec postgres -D data -c listen_addresses='*'
""",
    "prometheus": 'exec prometheus "$@"',
}
"""What the images of others do before the command of the compose file, with Debian's packages."""


def is_ours(service: str) -> bool:
    """Whether a service runs from the Dockerfile's image."""
    return "build" in SERVICES[service]


@dataclass
class Composed:
    """The services that have been started."""

    folder: Path
    image: str
    containers: Mapping[bool, str]
    """The container of our image, and that of the engines."""
    network: Network
    variables: Mapping[str, str]
    """`.env`."""
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict[str, Any])

    def user(self, service: str) -> tuple[str, str]:
        """Its user and group."""
        named = config_of(self.image)["User"] if is_ours(service) else SERVICES[service]["user"]
        user, _, group = named.partition(":")
        return user, group or user

    def start(self, service: str) -> None:
        """Start what is to run until it is stopped."""
        with (self.folder / f"{service}.log").open("wb") as log:
            self.running[service] = subprocess.Popen(
                self._line(service, self._command(service)), stdout=log, stderr=subprocess.STDOUT
            )

    def run(self, service: str, *instead: str) -> subprocess.CompletedProcess[str]:
        """Run a service's command, or another one in its place, as `docker compose run` does."""
        return subprocess.run(
            self._line(service, list(instead) or self._command(service)),
            check=False,
            capture_output=True,
            text=True,
        )

    def check(self, service: str) -> subprocess.CompletedProcess[str]:
        """Run its health check once."""
        kind, *words = SERVICES[service]["healthcheck"]["test"]
        words = [resolve(word, self.variables) for word in words]
        return self.run(service, *(["sh", "-c", *words] if kind == "CMD-SHELL" else words))

    def wait_until_healthy(self, service: str) -> None:
        """Wait for its health check; fail with what it has printed if it ends."""
        running = self.running[service]

        def has_ended_or_is_healthy() -> bool:
            return running.poll() is not None or self.check(service).returncode == 0

        try:
            wait_until(has_ended_or_is_healthy, f"{service} to be healthy", 300, every=0.5)
            assert running.poll() is None, f"{service} has ended"
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log(service)[-3000:]}") from None

    def log(self, service: str) -> str:
        """What it has printed."""
        return (self.folder / f"{service}.log").read_text()

    def process(self, service: str) -> psutil.Process:
        """Its first process, which docker's `init` would pass signals on to."""
        family = psutil.Process(self.running[service].pid).children(recursive=True)
        return next(each for each in family if "buildah" not in each.cmdline()[0])

    def stop(self, service: str) -> int:
        """Send SIGTERM, and wait as long as the compose file does; the exit code."""
        grace = SERVICES[service]["stop_grace_period"]
        self.process(service).terminate()
        return self.running.pop(service).wait(int(grace[:-1]) * (60 if grace[-1] == "m" else 1))

    def end(self) -> None:
        """Stop what still runs, in the order opposite to the start."""
        for service in reversed(list(self.running)):
            if self.running[service].poll() is None:
                self.stop(service)

    def _command(self, service: str) -> list[str]:
        given: list[str] = SERVICES[service].get("command", [])
        words = [resolve(word, self.variables) for word in given]
        if service in ENTRYPOINTS:
            return ["sh", "-ec", ENTRYPOINTS[service], service, *words]
        return words or config_of(self.image)["Cmd"]

    def _line(self, service: str, words: list[str]) -> list[str]:
        environment = SERVICES[service].get("environment", {})
        options = [
            f"--env={name}={resolve(str(value), self.variables)}"
            for name, value in environment.items()
        ]
        volumes = SERVICES[service].get("volumes", [])
        options += [f"--volume={self._volume(service, volume)}" for volume in volumes]
        run = ("run", "--isolation=chroot", "--user=0:0", "--cap-add=CAP_SYS_ADMIN", *options)
        root = "read-only" if SERVICES[service].get("read_only") else "writable"
        confined = ["sh", "-ec", CONFINE, "-", root, *self.user(service), *words]
        return [
            *self.network.enter(service),
            *command(*run, self.containers[is_ours(service)], "--", *confined),
        ]

    def _volume(self, service: str, volume: str) -> str:
        source, _, rest = volume.partition(":")
        if source.startswith("./"):
            return f"{ROOT / source}:{rest}"
        folder = self.folder / source
        if not folder.exists():
            folder.mkdir()
            name = self.user(service)[0]
            whole = command("run", "--isolation=chroot", self.containers[False], "--", "id", "-u")
            found = subprocess.check_output([*whole, name], text=True)
            os.chown(folder, int(found), int(found))
        return f"{folder}:{rest}"


@contextmanager
def composed(folder: Path, image: str, variables: Mapping[str, str]) -> Generator[Composed]:
    """A host for the services, where they find each other by their names; none runs yet."""
    make_base(ENGINES, ENGINE_IMAGE)
    with ExitStack() as stack:
        wires = stack.enter_context(network(list(SERVICES)))
        asks = f"--dns={wires.gateway}"
        containers = {
            ours: stack.enter_context(container(tag, asks))
            for ours, tag in ((True, image), (False, ENGINE_IMAGE))
        }
        stack.enter_context(_names(wires, containers[False]))
        host = Composed(folder, image, containers, wires, variables)
        stack.callback(host.end)
        yield host


@contextmanager
def _names(wires: Network, files: str) -> Generator[None]:
    """A DNS server that knows the services' names."""
    known = [f"--address=/{name}/{address}" for name, address in wires.addresses.items()]
    run = ("run", "--isolation=chroot", "--cap-add=CAP_NET_BIND_SERVICE", files, "--", "dnsmasq")
    options = ("--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=")
    here = (f"--listen-address={wires.gateway}", "--bind-interfaces", "--conf-file=/dev/null")
    with subprocess.Popen(command(*run, *options, *here, *known)) as server:
        try:
            yield
        finally:
            # The innermost first; those around it may have ended with it.
            for process in reversed(psutil.Process(server.pid).children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    process.terminate()
