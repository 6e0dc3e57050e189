"""The site's pages: docs/ as it stands, with links for the site, and the generated parts."""

import re
import shutil
from pathlib import Path
from textwrap import indent
from urllib.parse import urlsplit

from website.decisions import list_decisions
from website.event_reference import describe_events
from website.http_reference import describe_objects, describe_routes
from website.state_diagram import PICTURE_LINK, to_figure

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
COPIED = ("benchmarks", "console", "adr", "demo.svg", "asyncapi.json")
OURS = ("site.css", "site.js")
"""The stylesheet and the script of the site, beside this file."""
TABS = re.compile(r"<!-- tabs -->\n(.*?)<!-- end of tabs -->", re.DOTALL)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
OUTSIDE = {
    "CHANGELOG.md": "changelog.md",
    "clients/python/README.md": "client-python.md",
    "clients/typescript/README.md": "client-typescript.md",
}
"""Files outside docs/ that become pages of the site."""
SOURCE_PAGES = OUTSIDE | {"README.md": "index.md", "docs/adr": "decisions.md"}
"""Files outside docs/ and folders that have a page of the site."""
GENERATED = {
    "<!-- routes -->": describe_routes,
    "<!-- objects -->": describe_objects,
    "<!-- events -->": describe_events,
    "<!-- decisions -->": list_decisions,
    PICTURE_LINK: to_figure,
}
"""What a page has in place of generated text, and what writes it."""


def write_pages(folder: Path) -> None:
    """Write all pages, pictures, the stylesheet and the script into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in COPIED:
        copy = shutil.copytree if (DOCS / name).is_dir() else shutil.copy
        copy(DOCS / name, folder / name)
    for name in OURS:
        shutil.copy(ROOT / "website" / name, folder / name)
    for page in [*DOCS.glob("*.md"), *(DOCS / "adr").glob("*.md")]:
        target = folder / page.relative_to(DOCS)
        target.write_text(for_site(page.read_text(), page))
    for name, page in OUTSIDE.items():
        (folder / page).write_text(for_site((ROOT / name).read_text(), ROOT / name))


def for_site(text: str, page: Path) -> str:
    """Return a page's text with generated parts, and links that lead to pages of the site."""
    for mark, write in GENERATED.items():
        if mark in text:
            text = text.replace(mark, write())
    text = TABS.sub(_to_tabs, text)
    return "".join(
        part
        if part.lstrip().startswith("```")
        else LINK.sub(lambda link: _to_site(link, page), part)
        for part in re.split(r"(^ *```.*?^ *```$)", text, flags=re.MULTILINE | re.DOTALL)
    )


def _to_site(link: re.Match[str], page: Path) -> str:
    """Return a link as it is in the site. A file that only the repository has is just named."""
    bang, label, address = link.groups()
    path, _, anchor = address.partition("#")
    if urlsplit(address).scheme or not path:
        return link[0]
    target = (page.parent / path).resolve()
    found = SOURCE_PAGES.get(str(target.relative_to(ROOT)))
    if found is None and target.is_relative_to(DOCS):
        found = str(target.relative_to(DOCS))
    if found is None:
        return label
    up = "../" if page.parent == DOCS / "adr" else ""
    return f"{bang}[{label}]({up}{found}{'#' + anchor if anchor else ''})"


def _to_tabs(found: re.Match[str]) -> str:
    """Return sections as tabs: in docs/ they are headings, which every reader of Markdown shows."""
    sections = re.split(r"^### (.*)\n", found[1], flags=re.MULTILINE)[1:]
    return "\n".join(
        f'=== "{title}"\n{indent(content, "    ")}'
        for title, content in zip(sections[::2], sections[1::2], strict=True)
    )
