"""Hooks that MkDocs calls while it builds the site: `make docs`."""

import re
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from docs import api
from docs.formulas import typeset

# What a browser would load by itself from elsewhere; links that a reader follows are none.
LOADED = re.compile(
    r'<(?:script|img|iframe)\b[^>]*\bsrc="?(?:https?:)?//[^">\s]+|'
    r'<link\b[^>]*\brel="?(?:stylesheet|preconnect|icon)"?[^>]*\bhref="?(?:https?:)?//[^">\s]+'
)


def on_files(files: Files, config: Any) -> Files:
    """Add the API pages."""
    for package in api.PACKAGES:
        files.append(File.generated(config, f"api/{package}.md", content=api.page(package)))
    return files


def on_page_content(html: str, **_: Any) -> str:
    """Draw the formulas."""
    return typeset(html)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuse a page that would load anything from another server.

    Raises:
        PluginError: it would; the message says what.
    """
    if match := LOADED.search(output):
        raise PluginError(f"{page.file.src_uri} loads from another server: {match[0]}")
    return output
