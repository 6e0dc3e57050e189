"""House rules that linters do not know: language, names, layout, SQL, Redis keys."""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent.parent
CLIENT = "clients/python/publish_worker_client"
SOURCES = sorted(
    path for room in ("worker", "db", "schemas", CLIENT) for path in (ROOT / room).rglob("*.py")
)
REDIS_KEYS = {
    "video.events": "the relay: trimmed by age in operations/retention.py",
    "video.generation": "pipelines: trimmed by age in generation/stream.py",
    "publish-worker:wake": "expires",
    "publish-worker:wake:reports": "expires",
    "publish-worker:wake:announcements": "expires",
    "publish-worker:wake:webhooks": "expires",
    "publish-worker:wake:deliveries": "expires",
    "publish-worker:run-lock:webhooks": "expires",
    "publish-worker:relayed": "the relay: deleted with the stream by events/redis_stream.py",
    "publish-worker:subscriber:": "a subscriber: of its group, or expires; see its scripts",
    "publish-worker:heartbeat": "expires",
    "publish-worker:probe": "expires",
    "publish-worker:celery:": "Kombu",
}
MAY_HAVE_SQL = {
    f"{CLIENT}/subscribe/exactly_once.py": "writes to the consumer's own database",
    f"{CLIENT}/publish/sql.py": "calls the functions that accept commands",
    f"{CLIENT}/events/outbox.py": "reads the outbox, for gaps of the stream",
    "worker/local/engines/postgres.py": "asks a starting engine whether it answers",
    "worker/local/demo/scenarios.py": "plays the platform's render pipeline",
}
MAY_PRINT = {
    "worker/runtime/printing.py": "makes everything printable first",
    "worker/runtime/logs.py": "opens the log, whose renderers do",
    "worker/api/documents/asyncapi.py": "writes the file of the repository",
}
PRINTS = re.compile(
    r"sys\.(__)?std(out|err)(__)?|(?:(?!console|self)\w+\.)?(p?print|print_(exc|tb|exception)|s?echo|Console"
    r"|(Print|Write)Logger(Factory)?|StreamHandler|basicConfig)\("
)
ROOMS = ("worker", "db", "schemas", "clients", "tests", "bench", "website")
TEXTS = sorted(
    path
    for pattern in (
        *(f"{room}/**/*.{kind}" for room in ROOMS for kind in ("py", "lua")),
        "*.py",
        "*.md",
        "*.toml",
        "*.yml",
        "docs/**/*.md",
        "docs/asyncapi.json",
        "clients/typescript/*.*",
        "clients/typescript/src/*.ts",
        "clients/typescript/test/**/*.ts",
        "Makefile",
        "Dockerfile",
        ".env.example",
        ".ci/run",
        ".pre-commit-config.yaml",
    )
    for path in ROOT.glob(pattern)
    if path != Path(__file__)
)

# A phrase, and what to write instead. A space stands for any white space, over lines too.
PHRASES = {
    "anew": "again; or the verb: rebuild, recompute",
    "whoever": "any caller that",
    "(?:makes?|made|making) no sense": "is not valid",
    "(?:is|are|was|were) no": "is not a valid, is not a",
    "stands? in front": "prefix",
    "lets? go of": "drop, release",
    "(?:hears?|heard) of": "receives, is notified of",
    "(?:tells?|told) of": "reports",
    "(?:go|goes|going|gone|went) out": "is published, is sent, is carried out",
    "(?:comes?|came) to": "equals, results in",
    "made out": "computed, recognised",
    "(?:is|are|was|were|be|been) away": "is unreachable",
    "puts? down": "records",
    "behind": "after",
    "so many": "this number of",
    "sets? off": "triggered",
    "(?:is|are|was|were) what": "the subject first",
    "at hand": "available",
    r"turns(?!\[)": "changes",
    "takes? no": "does not accept, does not have",
    "in vain": "without success",
    "whatever became": "the outcome",
    "(?:nobody|somebody)": "the caller, another transaction, no consumer, …",
}
# Where a phrase is meant literally.
LITERAL = (
    "there (?:is|are|was|were) no",
    "(?:is|are|was|were) no longer",
    "behind a proxy",
    "(?:fall|falls|falling|fell) behind",
    "(?:list of|sections'?|the) turns",  # of a script
    "turns of",
    "user `?nobody",  # the Unix user
    "[`\"']nobody[`\"']",
    "nobody(?=@)",
    "left behind",
    "leaves nothing behind",
    ": behind",  # a comment line of the SSE stream
    "[`\"']behind[`\"']",  # the reason of a report that came too late
)


def any_of(*phrases: str) -> re.Pattern[str]:
    """These phrases; a space in them may be a line break within a comment or a string."""
    gap = r"(?:\s|#|[\"']\s*f?[\"'])+"
    return re.compile(rf"(?<![\w-])(?:{'|'.join(phrases).replace(' ', gap)})(?![\w-])")


IS_PHRASE = any_of(*PHRASES)
IS_LITERAL = any_of(*LITERAL)
METAPHORS = re.compile(r"_?(?:tell|told|hear|heard|settle|hold|stand|judge)(?:_|$)")
# Tables are classes for the migrations alone: statements are SQL, so nothing else imports them.
MAY_SHARE_A_NAME = {
    "Publisher": "the client's own, and the base class of our tables, for migrations alone",
    "Check": "the demo's own, never imported in production",
    "Subscriber": "the demo's own, never imported in production",
    "Connections": "a subscriber's own, and an HTTP pool: neither room imports the other",
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_file_opens_with_a_line_that_says_what_it_is_for(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, path
    assert len(docstring.splitlines()[0]) > 20


def to_module(path: Path) -> Path:
    client = ROOT / "clients" / "python"
    return path.relative_to(client if path.is_relative_to(client) else ROOT).with_suffix("")


@pytest.mark.processes
def test_nothing_is_opened_at_import() -> None:
    """Importing every module without any setting neither connects nor fails."""
    modules = [
        ".".join(to_module(path).parts).removesuffix(".__init__")
        for path in SOURCES
        if "migrations" not in path.parts
    ]
    code = "import socket; socket.socket.connect = None\n" + "\n".join(
        f"import {module}" for module in modules
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_redis_key_has_an_expiry_or_an_owner() -> None:
    """A key of ours is a constant in the code; each is known here with what ends it."""
    pattern = re.compile(r'"(publish-worker:[a-z:.-]*|video\.(?:events|generation))"')
    found = {
        match
        for path in [*SOURCES, ROOT / "celeryconfig.py"]
        for match in pattern.findall(path.read_text())
    }
    assert found <= REDIS_KEYS.keys(), found - REDIS_KEYS.keys()


def test_no_statement_is_sent_from_outside_db() -> None:
    """SQL lives in db; the worker calls functions with names."""
    statement = re.compile(r'"{1,3}\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM) ')
    outside = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if not path.is_relative_to(ROOT / "db") and statement.search(path.read_text())
    }
    assert outside <= MAY_HAVE_SQL.keys(), outside - MAY_HAVE_SQL.keys()


def test_nothing_prints_without_making_it_printable() -> None:
    """Text of others may contain characters that steer the operator's terminal."""
    found = {
        f"{path.relative_to(ROOT)}:{node.lineno}: {used}"
        for path in SOURCES
        if str(path.relative_to(ROOT)) not in MAY_PRINT
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call | ast.Attribute)
        for used in [
            f"{ast.unparse(node.func)}(" if isinstance(node, ast.Call) else ast.unparse(node)
        ]
        if PRINTS.fullmatch(used)
    }
    assert found == set()


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_plain_english(path: Path) -> None:
    """Phrases of style.md that keep a reader from understanding a sentence at once."""
    text = path.read_text()
    prose = (keep_prose(text) if path.suffix == ".py" else text).lower()
    literal = [match.span() for match in IS_LITERAL.finditer(prose)]
    found = [
        f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: "
        f"'{' '.join(match.group().split())}': write {instead_of(match.group())!r}"
        for match in IS_PHRASE.finditer(prose)
        if not any(begin <= match.start() and match.end() <= end for begin, end in literal)
    ]
    assert found == []


def instead_of(found: str) -> str:
    return next(advice for phrase, advice in PHRASES.items() if any_of(phrase).fullmatch(found))


def keep_prose(code: str) -> str:
    """The comments, strings and test names of a module, each where it stood; the rest blank."""
    starts = [0]
    for line in code.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    kept = [character if character.isspace() else "\x00" for character in code]
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        named = token.type == tokenize.NAME and token.string.startswith("test_")
        kind = tokenize.tok_name[token.type]
        if named or kind in ("COMMENT", "STRING") or kind.startswith("FSTRING"):
            begin = starts[token.start[0] - 1] + token.start[1]
            end = starts[token.end[0] - 1] + token.end[1]
            kept[begin:end] = token.string.replace("_", " ") if named else code[begin:end]
    return "".join(kept)


def test_phrases_are_found_over_lines_and_in_test_names_but_not_in_code() -> None:
    code = "behind = 1\n# so\n# many\nx = ('is '\n  'no URL')\ndef test_it_is_away(): ...\n"
    found = [match.group() for match in IS_PHRASE.finditer(keep_prose(code))]
    assert found == ["so\n# many", "is '\n  'no", "is away"]


def test_no_test_has_a_limit_of_time() -> None:
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check


def test_no_test_module_imports_another() -> None:
    """What several of them need is in tests/support."""
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in imported_names(node)
        if name.startswith("tests.") and ".test_" in name
    ]
    assert found == []


def imported_names(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [name.name for name in names]
        case ast.ImportFrom(module=module, names=names):
            return [f"{module}.{name.name}" for name in names]
        case _:
            return []


def test_no_two_classes_have_one_name() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for path in SOURCES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path.relative_to(ROOT)))
    shared = {name: files for name, files in places.items() if len(files) > 1}
    assert {name: files for name, files in shared.items() if name not in MAY_SHARE_A_NAME} == {}
    assert MAY_SHARE_A_NAME.keys() <= shared.keys()


def test_the_worker_has_at_most_thirteen_rooms() -> None:
    hidden = ("__init__.py", "__pycache__", "py.typed")
    rooms = {path.name for path in (ROOT / "worker").iterdir()} - set(hidden)
    assert len(rooms) <= 13, sorted(rooms)


def test_functions_are_not_named_by_a_metaphor() -> None:
    """One verb had up to nine meanings here."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and METAPHORS.match(node.name)
    ]
    assert found == []
