"""Judges of the claims about networks of growing depth, width and dimension."""

from typing import TYPE_CHECKING

from sweeps.reports.finding import Finding
from sweeps.reports.spread import between, short

if TYPE_CHECKING:
    from sweeps.reports.frames import DataFrame

FACTOR, BOUND = "theory/depth_factor", "theory/depth_bound"
LIMIT = "_limit"  # of the infinite width's
METRICS = (FACTOR, BOUND, FACTOR + LIMIT, BOUND + LIMIT)
# A factor above its bound by a smaller share is rounding of the last layers.
ROUNDING = 1e-3


def geometric(frame: "DataFrame") -> Finding:
    """Judge whether depth l nears the equilibrium no slower than is proven, in each network."""
    rows = frame[frame[BOUND] < 1].dropna(subset=list(METRICS[:4]))
    if rows.empty:
        return Finding(0, 0, "")
    share, share_limit = (rows[FACTOR + end] / rows[BOUND + end] for end in ("", LIMIT))
    held = int(((share <= 1 + ROUNDING) & (share_limit <= 1 + ROUNDING)).sum())
    parts = [
        f"factor of {name} {between(rows[FACTOR + end].min(), rows[FACTOR + end].max())}, at most "
        f"{short(part.max())} of the proven one"
        for name, end, part in (("G", "", share), ("K", LIMIT, share_limit))
    ]
    return Finding(len(rows), held, "; ".join(parts))
