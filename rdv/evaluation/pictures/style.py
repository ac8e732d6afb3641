"""Define the style sheet of a report."""

from __future__ import annotations

from rdv.evaluation.pictures.svg.palette import dark_style

_LIGHT = """
:root{--ink:#1b1f24;--soft:#59636e;--line:#dfe3e8;--paper:#ffffff;--box:#f5f7f9;
--good:#00694b;--bad:#a83f00;--unsure:#6b5500}
"""

_PAGE = """
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}
main{max-width:46rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 .25rem}
h2{font-size:1.2rem;margin:2.2rem 0 .6rem}
p{margin:.6rem 0;overflow-wrap:anywhere}
.note{color:var(--soft);font-size:.9rem}
.verdict{padding:.6rem .9rem;border-left:4px solid var(--soft);background:var(--box);
font-weight:600}
.good{border-color:var(--good)}.bad{border-color:var(--bad)}.unsure{border-color:var(--unsure)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));
gap:.7rem;margin:1rem 0}
.figures div{background:var(--box);padding:.6rem .8rem;border-radius:6px}
dt{color:var(--soft);font-size:.85rem}
dd{margin:0;font-size:1.15rem;font-weight:600;font-variant-numeric:tabular-nums;
overflow-wrap:anywhere}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding:.3rem 0}
th,td{padding:.35rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{color:var(--soft);font-weight:600}
.number{text-align:right;white-space:nowrap}
figure{margin:1.6rem 0}
figcaption{font-weight:600;margin-bottom:.4rem}
svg{display:block;width:100%;min-width:20rem;max-width:37rem;height:auto}
"""

_DARK = """
:root{--ink:#e6edf3;--soft:#9aa5b1;--line:#30363d;--paper:#14181d;--box:#1d232a;
--good:#2fc99b;--bad:#ff8a3d;--unsure:#e6c229}
"""

_PRINT = """
main{max-width:none;padding:0}
svg{min-width:0}
figure,tr,.verdict,.figures div{break-inside:avoid}
h2{break-after:avoid}
.wide{overflow:visible}
"""

STYLE = (
    _LIGHT
    + _PAGE
    + f"@media screen and (prefers-color-scheme:dark){{{_DARK}{dark_style()}}}"
    + f"@media print{{{_PRINT}}}"
)
"""The style sheet has no `<` and no `&`, so that it can be put into a page unchanged."""
