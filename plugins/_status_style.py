"""What the status page is dressed in: its style sheet and its script, both inside the page.

Its policy names them by their hashes, so a browser runs and applies nothing else.
"""

from __future__ import annotations

import base64
import hashlib

__all__ = ["POLICY", "SCRIPT", "STYLE"]

STYLE = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#161b22;--dim:#57606a;--line:#d8dee4;
--good:#12703c;--good-bg:#dcf5e5;--warn:#8a4b00;--warn-bg:#fdeccd;--bad:#b0121f;--bad-bg:#fde2e1;
--bar:#2463c5;--held:#8fb6f0;--track:#e3e8ee;--mono:ui-monospace,SFMono-Regular,Menlo,monospace}
@media(prefers-color-scheme:dark){:root{--bg:#0d1117;--card:#161b22;--ink:#e6edf3;--dim:#9aa7b4;
--line:#30363d;--good:#6fdd8b;--good-bg:#12351f;--warn:#f0b65a;--warn-bg:#3a2a0c;--bad:#ff9a93;
--bad-bg:#45181a;--bar:#5b9bff;--held:#2f5a9e;--track:#2b323b}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
.wrap{max-width:1400px;margin:0 auto;padding:0 20px}
header{background:var(--card);border-bottom:1px solid var(--line)}
header .wrap{display:flex;flex-wrap:wrap;align-items:center;gap:8px 20px;padding-block:14px}
h1{font-size:19px;margin:0}
h2{font-size:16px;margin:30px 0 10px}
h3{font-size:15px;margin:0;font-family:var(--mono);overflow-wrap:anywhere}
main{padding-bottom:40px}
.dim{color:var(--dim)} .small{font-size:13px}
.mono{font-family:var(--mono);font-size:13px;overflow-wrap:anywhere}
.grow{flex:1}
nav a{color:var(--ink);padding:4px 8px;border-radius:6px;text-decoration:none;
border:1px solid transparent}
nav a[aria-current]{border-color:var(--line);font-weight:600}
nav a:hover{text-decoration:underline}
a:focus-visible,summary:focus-visible{outline:2px solid var(--bar);outline-offset:2px}
.skip{position:absolute;left:-999px}
.skip:focus{left:8px;top:8px;background:var(--card);padding:8px;z-index:1}
.pill{display:inline-block;padding:1px 9px;border-radius:99px;font-size:13px;font-weight:600;
white-space:nowrap;background:var(--good-bg);color:var(--good)}
.pill.warn{background:var(--warn-bg);color:var(--warn)}
.pill.bad{background:var(--bad-bg);color:var(--bad)}
.pill.none{background:var(--track);color:var(--dim)}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;margin-bottom:12px;
overflow:hidden}
.card>.head{display:flex;flex-wrap:wrap;gap:4px 12px;align-items:baseline;padding:12px 16px}
.card>p{margin:0;padding:0 16px 12px}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:8px 16px;border-top:1px solid var(--line);vertical-align:middle}
th{font-weight:600;font-size:13px;color:var(--dim)}
td.num,th.num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.spark{display:block;width:150px;height:26px;border-bottom:1px solid var(--line)}
.deployments{table-layout:fixed}
.deployments th:nth-child(1){width:20%}.deployments th:nth-child(2){width:24%}
.deployments th:nth-child(3){width:10%}.deployments th:nth-child(5){width:8%}
.deployments th:nth-child(6){width:9%}.deployments th:nth-child(7){width:17%}
.deployments .num{white-space:normal}
.spark .good{fill:var(--bar)} .spark .bad{fill:var(--bad)} .spark .none{fill:var(--track)}
.traffic{display:flex;align-items:center;gap:12px;justify-content:flex-end}
.traffic span{min-width:46px;text-align:right}
details{border-top:1px solid var(--line);padding:8px 16px}
summary{cursor:pointer;color:var(--dim);font-size:13px}
details ul{margin:6px 0;padding-left:20px}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(290px,1fr));gap:12px}
.budget{margin:0;padding:12px 16px}
.budget .top{display:flex;gap:8px;justify-content:space-between;align-items:baseline}
.budget svg{display:block;width:100%;height:10px;margin:8px 0;border-radius:5px}
.budget .track{fill:var(--track)} .budget .spent{fill:var(--bar)} .budget .held{fill:var(--held)}
.budget.full .spent{fill:var(--bad)} .budget.near .spent{fill:#c77700}
.card.budget p{margin:2px 0;padding:0}
.alert{background:var(--bad-bg);color:var(--bad);border-radius:8px;padding:10px 14px;margin:12px 0}
.alert ul{margin:4px 0 0;padding-left:20px}
#lost:empty{display:none}
@media(max-width:820px){
.wrap{padding:0 12px}
table,tbody,td{display:block;width:100%}
thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
tr{display:grid;grid-template-columns:1fr 1fr;gap:6px 12px;border-top:1px solid var(--line);
padding:10px 12px}
td,td.num{border:0;padding:0;text-align:left;white-space:normal}
td::before{content:attr(data-label);display:block;color:var(--dim);font-size:12px}
td.first{grid-column:1/-1}td.first::before,td.void{display:none}
.traffic{justify-content:flex-start}.spark{width:90px}
.card>.head{padding:10px 12px}.card>p{padding:0 12px 10px}details{padding:8px 12px}
}
""".strip()

# Once a second the page is fetched again, and each marked part that differs is put in place, so
# that scroll position, focus and what is unfolded stay. Another set of parts: load it anew.
SCRIPT = """
(function(){
"use strict";
var lost=document.getElementById("lost"),text=lost.getAttribute("data-text"),busy=false;
function parts(d){return Array.prototype.slice.call(d.querySelectorAll("[data-live]"));}
function ids(l){return l.map(function(n){return n.id;}).join(" ");}
function tick(){
if(busy||document.hidden){return;}
busy=true;
fetch(location.href,{cache:"no-store",credentials:"same-origin"}).then(function(r){
if(!r.ok){throw new Error(r.status);}
return r.text();
}).then(function(t){
var fresh=parts(new DOMParser().parseFromString(t,"text/html")),old=parts(document);
if(ids(fresh)!==ids(old)){location.reload();return;}
fresh.forEach(function(n,i){
if(n.innerHTML!==old[i].innerHTML){old[i].innerHTML=n.innerHTML;}
});
if(lost.textContent){lost.textContent="";}
}).catch(function(){if(!lost.textContent){lost.textContent=text;}})
.then(function(){busy=false;});
}
setInterval(tick,1000);
document.addEventListener("visibilitychange",tick);
})();
""".strip()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


POLICY = "; ".join(
    (
        "default-src 'none'",
        f"style-src {_hash(STYLE)}",
        f"script-src {_hash(SCRIPT)}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
