"""The documents: links lead somewhere, and files and functions that they name exist."""

import ast
import fnmatch
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# `path` (`name`, `name`), or a table's cells: | `path` | `name`, `name` |
NAMES = re.compile(r"`([\w./-]+\.(?:py|lua))`(?: \(| \| )((?:`\w+`(?:, )?)+)")
FILE = re.compile(r"`((?:worker|db|schemas|tests|bench|docs)/[\w./-]*|\w+\.py)`")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def names_in(path: Path) -> set[str]:
    """Functions, methods, classes and constants of a module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Name(ctx=ast.Store()):
                found.add(node.id)
            case _:
                pass
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), f"{name_of(page)}: {link}"
        assert not anchor or anchor in anchors(target), f"{name_of(page)}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    missing = {
        file
        for file in FILE.findall(page.read_text())
        if not (ROOT / file).exists() and not (page.parent / file).exists()
    }
    assert missing == set()


@pytest.mark.parametrize("page", [ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md"])
def test_every_function_that_a_page_names_is_in_its_file(page: Path) -> None:
    named = NAMES.findall(page.read_text())
    assert len(named) > 10
    missing = [
        f"{file}: {name}"
        for file, names in named
        for name in re.findall(r"\w+", names)
        if name not in names_in(ROOT / file)
    ]
    assert missing == []


def test_every_test_that_a_page_names_exists() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    tests = {name for path in (ROOT / "tests").rglob("test_*.py") for name in names_in(path)}
    named = set(re.findall(r"`([a-z_]*…[a-z_…]*|test_\w+)`", page))
    assert len(named) > 50
    missing = [name for name in named if not fnmatch.filter(tests, name.replace("…", "*"))]
    assert missing == []


def test_every_test_file_that_the_faults_name_exists() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    files = re.findall(r"[\w/]*test_\w+\.py", page)
    assert [file for file in files if not (ROOT / file).exists()] == []
