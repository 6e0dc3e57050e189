"""The image, built by buildah. Its base is made of Debian's packages: no registry is asked."""

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.compose import ROOT

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "publish-worker/images"
"""The two bases, for the next run: they take minutes and 1 GB. Remove it for newer packages."""
RELEASE = "trixie"
ENGINES = "publish-worker-engines"
PACKAGES = {
    "python": ("python3-venv", "python3-pip"),
    ENGINES: ("postgresql", "valkey-server", "valkey-tools", "prometheus", "dnsmasq"),
}
"""What each base has, besides Debian's minimum and the certificate authorities."""
LIKE_THE_OFFICIAL_IMAGE = """
cd "$1/usr/local/bin"
ln -sf /usr/bin/python3 python
ln -sf /usr/bin/pip3 pip
rm -f "$1"/usr/lib/python3.*/EXTERNALLY-MANAGED
"""
"""The official image's own Python has `python` and `pip` on the path, and pip may install."""
TIDY = 'rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/usr/share/doc/*'
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
PROGRAMS = ("buildah", "debootstrap", "ip", "setpriv")

NEEDS_BUILDAH = pytest.mark.skipif(
    os.getuid() != 0 or not all(map(shutil.which, PROGRAMS)),
    reason="root, buildah, debootstrap and iproute2 are needed to build the image",
)


def buildah(*arguments: str) -> str:
    """Run buildah on images of the tests' own; return what it prints."""
    done = subprocess.run(command(*arguments), check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"buildah {arguments[0]}: {done.stdout[-3000:]}{done.stderr}"
    return done.stdout.strip()


def command(*arguments: str) -> list[str]:
    """A command line of buildah."""
    places = [f"--root={CACHE}/storage", f"--runroot={CACHE}/run", "--storage-driver=vfs"]
    return ["buildah", *places, *arguments]


def image_of_from() -> str:
    """The one base that the Dockerfile names."""
    [name] = set(re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    return f"docker.io/library/{name}"


def make_base(kind: str, tag: str) -> None:
    """Make a base of Debian's packages, unless there is one."""
    if buildah("images", "--format={{.Name}}:{{.Tag}}", "--filter", f"reference={tag}"):
        return
    container = buildah("from", "scratch")
    try:
        folder = buildah("mount", container)
        packages = ",".join(("ca-certificates", *PACKAGES[kind]))
        _run("debootstrap", "--variant=minbase", f"--include={packages}", RELEASE, folder)
        _run("sh", "-ec", TIDY, "-", folder)
        if kind == "python":
            _run("sh", "-ec", LIKE_THE_OFFICIAL_IMAGE, "-", folder)
        buildah("commit", "--quiet", container, tag)
    finally:
        buildah("rm", container)


@contextmanager
def built(folder: Path) -> Generator[str]:
    """Build the Dockerfile as it stands; the image's name, until the block ends."""
    CACHE.mkdir(parents=True, exist_ok=True)
    make_base("python", image_of_from())
    tag = f"localhost/publish-worker:{uuid.uuid4().hex}"
    build = ("bud", "--quiet", "--isolation=chroot", "--pull=never", *_index(folder))
    buildah(*build, "--tag", tag, str(ROOT))
    try:
        yield tag
    finally:
        buildah("rmi", "--force", tag)


@contextmanager
def container(image: str, *options: str) -> Generator[str]:
    """A container's files, removed at the end."""
    name = buildah("from", "--pull=never", *options, image)
    try:
        yield name
    finally:
        buildah("rm", name)


def config_of(image: str) -> dict[str, Any]:
    """The user, environment, folder and command that an image names."""
    return json.loads(buildah("inspect", "--type=image", image))["OCIv1"]["config"]


def _index(folder: Path) -> list[str]:
    """Let pip in the build reach the index as pip of this machine does: by mounts, as nothing of
    it may be in the image.
    """
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    )
    found = dict(re.findall(r"^\S*\.(\S+)='(https?://.*)'$", listed.stdout, re.MULTILINE))
    lines = [f"{name} = {url}" for name, url in found.items() if name.endswith("index-url")]
    (folder / "pip.conf").write_text("\n".join(["[global]", *lines, ""]))
    trusted = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or AUTHORITIES
    mounts = {folder / "pip.conf": "/etc/pip.conf", trusted: AUTHORITIES}
    return [f"--volume={here}:{there}:ro" for here, there in mounts.items()]


def _run(*arguments: str) -> None:
    done = subprocess.run(arguments, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments[0]}: {done.stdout[-3000:]}{done.stderr}"
