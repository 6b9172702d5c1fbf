"""How the page of a sweep looks: its style, light and dark, and the few lines that sort its table."""

# The colours by name are those of the pictures (src/search/drawing.py), which follow them.
STYLE = """
:root{color-scheme:light dark;--ink:#22303c;--muted:#66757f;--grid:#e4e8eb;--paper:#ffffff;--ground:#f5f7f8;
--finished:#2f6fab;--best:#d55e00;--failed:#a83254;--running:#15886b}
@media(prefers-color-scheme:dark){:root{--ink:#e3e8ec;--muted:#98a5af;--grid:#333c45;--paper:#1c2228;--ground:#13171b;
--finished:#6fb0ea;--best:#ff9440;--failed:#f07a99;--running:#4fc9a4}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem;max-width:1180px;background:var(--ground);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
h1{font-size:1.45rem;line-height:1.25;margin:0 0 .3rem;overflow-wrap:anywhere}
h2{font-size:.8rem;margin:0 0 .5rem;color:var(--muted);font-weight:600;letter-spacing:.05em;text-transform:uppercase}
p{margin:.3rem 0}a{color:var(--finished)}
.muted{color:var(--muted)}
.state{font-size:.78rem;font-weight:700;border:1.5px solid currentColor;border-radius:1rem;
padding:.08rem .6rem;margin-right:.5rem}
.FINISHED,.finished .s{color:var(--finished)}.FAILED,.failed .s{color:var(--failed)}
.RUNNING,.running .s{color:var(--running)}.KILLED,.pruned .s,.waiting .s{color:var(--muted)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,300px),1fr));gap:1rem;margin:1.2rem 0}
.card,figure,.table{background:var(--paper);
border:1px solid var(--grid);border-radius:10px;padding:1rem 1.1rem;margin:0}
.value{font-size:1.7rem;font-weight:650;line-height:1.2;color:var(--best);overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:auto 1fr;gap:.1rem .9rem;margin:.6rem 0 0}
dt{color:var(--muted);overflow-wrap:anywhere}dd{margin:0;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.bar{display:flex;height:10px;border-radius:5px;overflow:hidden;background:var(--grid);margin:.35rem 0 .6rem}
.bar i{display:block;min-width:2px}
pre{margin:.4rem 0;padding:.6rem .8rem;background:var(--ground);border:1px solid var(--grid);border-radius:6px;
white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
code{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,500px),1fr));gap:1rem;margin:1.2rem 0}
figure{padding:.6rem;min-width:0}figure.wide{grid-column:1/-1}
svg{display:block;width:100%;height:auto;margin:0 auto}.wide svg{max-width:930px}
svg text{font-family:system-ui,"DejaVu Sans",Arial,sans-serif!important}
.table{padding:.4rem 0;overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.86rem;font-variant-numeric:tabular-nums}
th,td{padding:.28rem .6rem;text-align:left;vertical-align:top;white-space:nowrap}
td.why{white-space:normal;min-width:15rem;font-size:.92em;line-height:1.35;overflow-wrap:anywhere}
td.text{max-width:20rem;overflow:hidden;text-overflow:ellipsis}
th{color:var(--muted);font-weight:600;border-bottom:1px solid var(--grid)}
th.n,td.n{text-align:right}tbody tr:hover{background:var(--ground)}
tr.top td{font-weight:650}tr.top td:first-child{box-shadow:inset 3px 0 var(--best)}
th[data-way]{cursor:pointer}th[data-way]:hover{color:var(--ink)}
th[data-way=up]::after{content:" ↑"}th[data-way=down]::after{content:" ↓"}
@media print{body{background:none;max-width:none}.card,figure{break-inside:avoid}}
"""

# Everything is there without it: viewers of artifacts may not run scripts.
SCRIPT = """
for(const head of document.querySelectorAll("th")){head.dataset.way="";head.onclick=()=>{
const body=head.closest("table").tBodies[0],place=head.cellIndex,down=head.dataset.way==="up";
for(const other of head.parentNode.cells)other.dataset.way="";head.dataset.way=down?"down":"up";
const worth=row=>{const cell=row.cells[place],text=cell.dataset.v??cell.textContent;return text===""||text==="–"?null:
isNaN(text)?text:+text};
const order=(a,b)=>a===null||b===null?(a===null)-(b===null):(typeof a==="number"&&typeof b==="number"?a-b:
String(a).localeCompare(String(b)))*(down?-1:1);
body.append(...[...body.rows].map(row=>[worth(row),row]).sort((a,b)=>order(a[0],b[0])).map(pair=>pair[1]))}}
"""
