# Copyright: utmstack.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the drill's report looks, in light and in dark, on a wall screen, a phone and paper."""

from __future__ import annotations

STYLE = """
:root {
  --back: #f6f7f9; --card: #fff; --text: #1b2430; --soft: #56616f; --line: #d5dae1;
  --good: #146c3a; --good-back: #e4f4ea; --bad: #a4161a; --bad-back: #fdeaea;
  --acknowledged: #2a6fb5; --failed: #c2570c; --unknown: #7541b8; --outage: #f6c9c9;
  --host0: #cfe3f6; --host1: #fbe3bd; --host2: #d6edcf; --host3: #e6d9f5;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #12161c; --card: #1b2129; --text: #e6eaf0; --soft: #a3aebb; --line: #38424f;
    --good: #6bd795; --good-back: #153523; --bad: #ff9a9a; --bad-back: #431c1f;
    --acknowledged: #6aaef0; --failed: #ffa45c; --unknown: #bf9bf5; --outage: #5c2428;
    --host0: #1f4468; --host1: #5c4413; --host2: #274d22; --host3: #46306b;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 16px/1.45 system-ui, sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 16px; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 8px 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 32px 0 8px; }
header p, .note, small, dt, .figures dd + dd, footer { color: var(--soft); }
small { font-size: .8rem; font-weight: normal; }
a { color: inherit; }
ul { margin: 4px 0; padding-left: 20px; }
.verdict { border-left: 6px solid; border-radius: 4px; padding: 10px 14px; }
.verdict > p { font-size: 1.15rem; font-weight: 600; margin: 0; }
.verdict ul { color: var(--text); }
.verdict.met { background: var(--good-back); }
.verdict.missed, div.missed { background: var(--bad-back); }
.met { color: var(--good); }
.missed { color: var(--bad); }
div.missed { border-radius: 4px; padding: 2px 8px; margin: 8px 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 10px; margin: 14px 0; }
.figures div { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 8px 12px; }
.figures dt, .figures dd + dd { font-size: .8rem; }
.figures dd { margin: 0; font-size: 1.35rem; font-weight: 600; overflow-wrap: anywhere; }
.figures dd + dd { font-weight: normal; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 6px; margin: 8px 0; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px; text-align: right; white-space: nowrap; border-top: 1px solid var(--line); }
thead tr:first-child th { border-top: 0; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
thead th[colspan] { text-align: center; white-space: normal; }
tbody th, thead th:first-child { text-align: left; font-weight: 600; }
tbody th, .target { white-space: normal; min-width: 8em; }
tbody th small { display: block; }
td.met, td.missed { font-weight: 600; }
details { margin: 12px 0; }
summary { cursor: pointer; }
.turn { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 8px 12px; }
.turn h3 { display: inline; font-size: 1rem; margin-right: 8px; overflow-wrap: anywhere; }
.turn summary small { display: block; }
.turn summary .met, .turn summary .missed { font-weight: 600; margin-right: 8px; }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: .88rem; }
.legend i { display: inline-block; width: 18px; height: 11px; margin-right: 6px; background: var(--acknowledged); }
.legend .failed { background: var(--failed); }
.legend .unknown { background: var(--unknown); }
.legend .outage { background: var(--outage); }
.plot { position: relative; margin: 10px 0 4px; font-size: .82rem; }
.plot p { margin: 8px 0 2px; position: relative; z-index: 2; }
.plot p > span { background: var(--card); padding-right: 4px; }
.marks div { position: relative; height: 1.45em; }
.marks span { position: absolute; padding-left: 5px; white-space: nowrap; font-weight: 600; }
.marks .late { padding: 0 5px 0 0; }
.lines i { position: absolute; top: 0; bottom: 1.5em; border-left: 2px solid var(--bad); z-index: 1; }
.lines .effect { border-left-style: dashed; }
.lines .undone { border-left: 2px dotted var(--soft); }
.lines .whole { border-left-color: var(--good); }
.marks .injected, .marks .effect { color: var(--bad); }
.marks .whole { color: var(--good); }
.bars { position: relative; border-bottom: 1px solid var(--line); }
.bars svg { display: block; width: 100%; height: 52px; }
path.acknowledged { fill: var(--acknowledged); }
path.failed { fill: var(--failed); }
path.unknown { fill: var(--unknown); }
rect.outage { fill: var(--outage); }
.away { position: absolute; top: 4px; text-align: center; font-weight: 600; white-space: nowrap; z-index: 2; }
.reigns { padding-bottom: 8px; }
.reign div { position: relative; height: 1.4em; }
.reign div span { position: absolute; top: 0; bottom: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  padding: 0 5px; border-right: 2px solid var(--card); }
.reign div .nobody { padding: 0; color: transparent; }
.host0 { background: var(--host0); } .host1 { background: var(--host1); }
.host2 { background: var(--host2); } .host3 { background: var(--host3); }
.nobody { background: repeating-linear-gradient(45deg, var(--outage) 0 6px, var(--card) 6px 10px); }
.axis { position: relative; height: 1.5em; color: var(--soft); }
.axis span { position: absolute; border-left: 1px solid var(--soft); padding-left: 3px; white-space: nowrap; }
.events { font-size: .88rem; columns: 24em; }
.events time { font-variant-numeric: tabular-nums; font-weight: 600; }
.leaders { font-size: .88rem; }
.leaders p { margin: 6px 0 0; font-weight: 600; }
.leaders ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 0 16px; }
@media (max-width: 600px) {
  main { padding: 10px; }
  h1 { font-size: 1.3rem; }
  .figures { grid-template-columns: 1fr 1fr; }
  .turn { padding: 8px; }
}
@media print { body { background: #fff; } .turn { break-inside: avoid; } }
"""
