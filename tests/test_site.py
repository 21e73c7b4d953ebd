"""The site's own parts: pages of the Python reference, formulas, nothing from other servers."""

import functools
import importlib
import re

import pytest
from documents import ROOT, WRITTEN

from docs import api, formulas

# A formula between dollars, outside code.
CODE = re.compile(r"^```.*?^```$|^    .*?$|`[^`]*`", re.MULTILINE | re.DOTALL)
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(\S(?:[^$]*\S)?)\$", re.DOTALL)


@pytest.mark.parametrize("package", api.PACKAGES)
def test_the_reference_shows_each_public_name_once(package):
    shown = re.findall(rf"^::: {package}\.(\w+)$", api.page(package), re.MULTILINE)
    assert sorted(shown) == sorted(importlib.import_module(package).__all__)


# A formula on several pages is drawn once.
shape = functools.cache(formulas.shape)


@pytest.mark.slow
@pytest.mark.parametrize("page", WRITTEN, ids=lambda path: path.stem)
def test_every_formula_is_drawn(page):
    for block, inline in FORMULA.findall(CODE.sub("", page.read_text())):
        for line in (block or inline).split(r"\\"):
            assert len(shape(line).vertices), line


def test_a_formula_that_is_not_understood_is_refused():
    with pytest.raises(ValueError, match="nosuchthing"):
        formulas.picture(r"\nosuchthing")


def test_formulas_become_pictures_with_their_tex_as_text():
    page = (
        '<p>Let <span class="arithmatex">\\(a &lt; b\\)</span>.</p>'
        '<div class="arithmatex">\\[\na = 1\n\\\\\nb = 2\n\\]</div>'
    )
    drawn = formulas.typeset(page)
    assert "arithmatex" not in drawn
    assert re.findall('aria-label="(.*?)"', drawn) == ["a &lt; b", "a = 1", "b = 2"]
    assert drawn.count('<div class="formula">') == 1


def test_deq_cites_sections_that_are_there():
    headings = re.findall(r"^## (\d+)\.", (ROOT / "docs/theory.md").read_text(), re.MULTILINE)
    cited = set()
    for path in (ROOT / "deq").rglob("*.py"):
        for numbers in re.findall(r"docs/theory\.md,\s+sections? ([\d and]+)", path.read_text()):
            cited |= set(re.findall(r"\d+", numbers))
    assert len(cited) >= 6
    assert cited <= set(headings)


@pytest.mark.parametrize(
    ("html", "loads"),
    [
        ('<script src="https://elsewhere/x.js"></script>', True),
        ('<link rel="stylesheet" href="//elsewhere/x.css">', True),
        ('<img alt="" src=http://elsewhere/x.png>', True),
        ('<script src="assets/x.js"></script><a href="https://elsewhere">there</a>', False),
    ],
)
def test_a_page_that_loads_from_another_server_is_detected(html, loads):
    pytest.importorskip("mkdocs", reason="it comes with the extra `docs`")
    from docs.hooks import LOADED

    assert bool(LOADED.search(html)) is loads
