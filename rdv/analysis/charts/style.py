"""The style sheet of reports and of the console's page."""

from __future__ import annotations

from rdv.analysis.charts.svg.palette import dark_style

_LIGHT = """
:root{--ink:#1b1f24;--soft:#59636e;--line:#dfe3e8;--paper:#ffffff;--box:#f5f7f9;--link:#0058a3;
--good:#00694b;--bad:#a83f00;--unsure:#6b5500}
"""

_PAGE = """
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}
main{max-width:104rem;margin:0 auto;padding:1.5rem clamp(1rem,3vw,2.5rem) 4rem}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:0;padding-top:.6rem;border-top:1px solid var(--line)}
p{margin:0;max-width:76ch;overflow-wrap:anywhere}
ul{margin:0;padding-left:1.2rem}
li{max-width:76ch;margin:.2rem 0;overflow-wrap:anywhere}
a{color:var(--link)}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;margin:1.2rem 0 0;font-size:.95rem}
section{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,30rem),1fr));
gap:1rem 2rem;margin-top:1.2rem;align-items:start}
section>*{min-width:0;grid-column:1/-1}
section>.cell{grid-column:auto}
.texts{display:grid;gap:.5rem}
.note{color:var(--soft);font-size:.9rem}
.verdict{padding:.6rem .9rem;border-left:4px solid var(--soft);background:var(--box);
font-weight:600;max-width:none}
.good{border-color:var(--good)}.bad{border-color:var(--bad)}.unsure{border-color:var(--unsure)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,11rem),1fr));
gap:.7rem;margin:0}
.figures div{background:var(--box);padding:.6rem .8rem;border-radius:6px}
dt{color:var(--soft);font-size:.85rem}
dd{margin:0;font-size:1.15rem;font-weight:600;font-variant-numeric:tabular-nums;
overflow-wrap:anywhere}
small{font-weight:400;color:var(--soft);white-space:nowrap}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding:.3rem 0}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th:first-child,td:first-child{padding-left:0}
th{color:var(--soft);font-weight:600}
.number{text-align:right}
td.number{white-space:nowrap}
figure{margin:0}
figcaption{font-weight:600;margin-bottom:.4rem}
svg{display:block;width:100%;min-width:18rem;max-width:44rem;height:auto}
@media (max-width:40rem){th,td{padding:.3rem}}
"""

_DARK = """
:root{--ink:#e6edf3;--soft:#9aa5b1;--line:#30363d;--paper:#14181d;--box:#1d232a;--link:#7cb8ff;
--good:#2fc99b;--bad:#ff8a3d;--unsure:#e6c229}
"""

_PRINT = """
main{max-width:none;padding:0}
nav{display:none}
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

SCOPED_STYLE = f"@scope{{{STYLE.replace(':root{', ':scope{').replace('body{', ':scope{')}}}"
"""The same for a part of another page."""
