r"""Typeset the formulas of a page: TeX between dollars becomes an inline SVG picture.

matplotlib's own TeX parser draws them when the site is built, so a page loads no script and
no font. It knows a part of TeX: write `\geq` for `\ge`, `\Vert` for `\lVert`, `\dfrac` for a
fraction of full height. Lines of a displayed formula are separated by `\\`.
"""

import html
import re

from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath

# Units of a picture for one em.
EM = 100
FONT = FontProperties(math_fontfamily="cm")
LETTERS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}
# The spans and blocks in which pymdownx.arithmatex leaves TeX.
_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


def typeset(page: str) -> str:
    """Replace all formulas of a page's HTML.

    Raises:
        ValueError: matplotlib does not understand a formula.
    """
    page = _BLOCK.sub(lambda match: _block(html.unescape(match[1])), page)
    return _INLINE.sub(lambda match: picture(html.unescape(match[1])), page)


def shape(tex: str) -> Path:
    """Return the outline of a formula.

    Raises:
        ValueError: matplotlib does not understand the formula.
    """
    return TextPath((0, 0), f"${' '.join(tex.split())}$", size=EM, prop=FONT)


def picture(tex: str) -> str:
    """Return one formula as an SVG element that is aligned with the text around it.

    A word joiner follows it, so that no line begins with the comma after a formula.
    """
    tex, path = " ".join(tex.split()), shape(tex)
    left, bottom, right, top = path.get_extents().extents
    width, height = right - left, top - bottom
    box = f"{left:.1f} {-top:.1f} {width:.1f} {height:.1f}"
    style = f"width:{width / EM:.3f}em;vertical-align:{bottom / EM:.3f}em"
    label = html.escape(tex, quote=True)
    return (
        f'<svg class="formula" role="img" aria-label="{label}" viewBox="{box}" style="{style}">'
        f'<path d="{_outline(path)}"/></svg>&#8288;'
    )


def _block(tex: str) -> str:
    lines = [picture(line) for line in tex.split(r"\\") if line.strip()]
    return f'<div class="formula">{"".join(f"<div>{line}</div>" for line in lines)}</div>'


def _outline(path: Path) -> str:
    """Return the path in SVG's words; SVG's vertical axis points down."""
    parts = []
    for points, code in path.iter_segments(simplify=False):
        if code == Path.CLOSEPOLY:
            parts.append("Z")
            continue
        pairs = zip(points[::2], -points[1::2], strict=True)
        parts.append(LETTERS[code] + " ".join(f"{x:.1f} {y:.1f}" for x, y in pairs))
    return "".join(parts)
