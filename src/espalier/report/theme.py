"""Colours and type: light, dark and paper from one set of names.

The hues are those of Okabe & Ito 2008 (told apart with any colour vision), darkened or lightened until each stands out
from its ground by 3.5 : 1 or more. The baseline is grey, and every recipe has a shape and a direct label besides its hue.
"""

N_HUES = 8

LIGHT = {
    "paper": "#ffffff", "raised": "#f6f7f9", "ink": "#16191d", "muted": "#5a6470", "rule": "#d9dee4", "faint": "#eceff3",
    "better": "#00705c", "worse": "#a83a00", "r0": "#69737f", "r1": "#c96200", "r2": "#008066", "r3": "#0b5fb8",
    "r4": "#a2457f", "r5": "#8a7000", "r6": "#2387b3", "r7": "#5b4fc7",
}
DARK = {
    "paper": "#121518", "raised": "#1b1f24", "ink": "#e9edf1", "muted": "#a0abb7", "rule": "#3a424b", "faint": "#262c33",
    "better": "#4fd1ae", "worse": "#ff9d66", "r0": "#9aa5b1", "r1": "#f2a24a", "r2": "#37c9a3", "r3": "#6cb0fa",
    "r4": "#e39ac6", "r5": "#d9c14a", "r6": "#7fd0f2", "r7": "#b3aaff",
}


def hue(place: int) -> str:
    """The CSS class that colours the recipe at this place of `recipes_of`."""
    return f"r{place % N_HUES}"


def _variables(colours: dict[str, str]) -> str:
    return ":root{" + "".join(f"--{name}:{value};" for name, value in colours.items()) + "}"


THEME_CSS = (
    ":root{color-scheme:light dark}" + _variables(LIGHT)
    + "@media screen and (prefers-color-scheme:dark){" + _variables(DARK) + "}"
)

CHART_CSS = "".join(f".r{i}{{color:var(--r{i})}}" for i in range(N_HUES)) + """
.chart{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-size:13px;
font-variant-numeric:tabular-nums}
.chart text{fill:var(--ink)}
.chart .small{font-size:12px}
.chart .quiet{fill:var(--muted);font-size:12px}
.chart .name{font-weight:650;paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}
.chart .head{font-size:15px;font-weight:650}
.chart .title{font-size:20px;font-weight:700}
.chart .solid{fill:currentColor;stroke:var(--paper);stroke-width:1}
.chart .open{fill:var(--paper);stroke:currentColor;stroke-width:2}
.chart .bar{fill:currentColor}
.chart .pale{fill:currentColor;opacity:.28}
.chart .band{fill:currentColor;opacity:.13}
.chart .stroke{stroke:currentColor;stroke-width:2.25;fill:none;stroke-linejoin:round;stroke-linecap:round}
.chart .thin{stroke:currentColor;stroke-width:1.1;fill:none;opacity:.4;stroke-linejoin:round}
.chart .grid{stroke:var(--faint);stroke-width:1}
.chart .axis{stroke:var(--rule);stroke-width:1}
.chart .zero{stroke:var(--muted);stroke-width:1.25}
.chart .even{stroke:var(--muted);stroke-width:1.25;stroke-dasharray:4 3}
.chart .leader{fill:none;stroke:currentColor;stroke-width:1;opacity:.55}
.chart .ground{fill:var(--paper)}
.chart .better{fill:var(--better);font-weight:650}
.chart .worse{fill:var(--worse);font-weight:650}
"""

PAGE_CSS = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1200px;margin:0 auto;padding:28px clamp(16px,4vw,40px) 72px}
h1{font-size:clamp(1.3rem,1.1rem + 1vw,1.7rem);line-height:1.2;margin:0 0 .2em;letter-spacing:-.01em}
h2{font-size:1.3rem;line-height:1.25;margin:3.2rem 0 .3rem;letter-spacing:-.005em}
h3{font-size:1rem;margin:1.4rem 0 .4rem}
p{margin:.4rem 0;max-width:46rem;text-wrap:pretty}
.quiet{color:var(--muted)}
.meta{color:var(--muted);font-size:.9rem;max-width:56rem}
code,.text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;margin:1rem 0 0;font-size:.9rem}
a{color:inherit;text-decoration-color:var(--muted);text-underline-offset:3px}
.answer{font-size:clamp(1.3rem,1.1rem + 1vw,1.85rem);line-height:1.28;font-weight:670;letter-spacing:-.015em;
margin:1.6rem 0 .6rem;max-width:56rem;text-wrap:balance}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,290px),1fr));gap:14px;margin:1.3rem 0 0}
.card{background:var(--raised);border-radius:8px;padding:14px 16px 12px;border-top:3px solid currentColor}
.card>*{color:var(--ink)}
.card h3{margin:0;font-size:1.05rem}
.card p{margin:0;font-size:.92rem}
.card p.range{font-size:.88rem}
.card .step{margin-top:.6rem;font-size:1rem}
.card .step b{font-size:1.12rem}
.card .step span,.card .step .better,.card .step .worse{font-size:.95rem;margin-left:.5em}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:28px 48px;margin:1rem 0 0;align-items:start}
.charts+p{margin-top:1.4rem}
figure{margin:0;break-inside:avoid}
figcaption{font-size:.95rem;font-weight:620;margin:0 0 .45rem}
figcaption span{display:block;font-weight:400;font-size:.86rem;color:var(--muted)}
svg.chart{display:block;width:100%;height:auto;max-width:calc(var(--chart-width)*1.22)}
.scroll{overflow-x:auto;margin:.9rem 0 0}
table{border-collapse:collapse;font-size:.9rem;min-width:min(100%,30rem)}
th,td{padding:.38rem 1.1rem .38rem 0;text-align:left;vertical-align:baseline;border-bottom:1px solid var(--rule)}
thead th{font-weight:620;vertical-align:bottom;line-height:1.3;max-width:10.5rem;border-bottom-color:var(--muted)}
td.n,th.n{text-align:right}
td{white-space:nowrap}
tbody th{font-weight:500;white-space:nowrap}
tr.pair>*{border-bottom-color:transparent;padding-bottom:.1rem}
th:last-child,td:last-child{padding-right:0}
.range{color:var(--muted)}
svg.chart.key{display:inline-block;width:.86em;height:.86em;margin-right:.42em;vertical-align:-.06em}
.legend{display:flex;flex-wrap:wrap;gap:.1rem 1.4rem;max-width:none}
.packed{column-width:440px;column-gap:48px;margin:1rem 0 0}
.packed figure{margin:0 0 26px}
.better b,b.better{color:var(--better)}
.worse b,b.worse{color:var(--worse)}
details{border-top:1px solid var(--rule);padding:.55rem 0}
details:last-of-type{border-bottom:1px solid var(--rule)}
summary{cursor:pointer;font-weight:600}
summary span{font-weight:400;color:var(--muted)}
.samples{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:12px;margin:.8rem 0 .6rem}
.sample{background:var(--raised);border-radius:6px;padding:10px 13px;break-inside:avoid;min-width:0}
.sample p{margin:0 0 .4rem;font-size:.82rem;color:var(--muted);overflow-wrap:anywhere}
.sample p b{color:var(--ink)}
.sample.dropped p b{color:var(--worse)}
.sample dl{display:grid;grid-template-columns:auto minmax(0,1fr);gap:.3rem .7rem;margin:0}
.sample dt{color:var(--muted);font-size:.78rem;line-height:1.7}
.sample dd{margin:0;font-size:.84rem;line-height:1.55}
.text{white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate;max-height:16em;overflow:auto}
footer{margin-top:3.5rem;color:var(--muted);font-size:.85rem}
@media print{body{font-size:10.5pt}main{max-width:none;padding:0}nav{display:none}h2,h3{break-after:avoid}h2{margin-top:1.6rem}tr{break-inside:avoid}
details::details-content{content-visibility:visible}.text{max-height:none}.scroll{overflow:visible}
.card,.sample{border:1px solid var(--rule)}}
"""
