"""The page that `cllm watch` shows: a report's sections, and a script that puts in place those that have changed.

What a reader does to the page stays: only sections that differ are replaced, none in which text is selected, and in the
new ones tables stand where they were moved to.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from html import escape

from cllm.markup import document
from cllm.reporting.live import View
from cllm.reporting.page import STYLE

LIVE_STYLE = STYLE + """
.state { margin: 0.2em 0; } .state .key { margin-right: 0.4em; }
.state::before { display: inline-block; width: 1.2em; color: #2e9e44; } .silent { font-weight: bold; }
.on::before { content: "\\25cf"; } .ended::before { content: "\\2713"; }
.silent::before { content: "\\25b2"; color: #d08700; } .stopped::before { content: "\\25a0"; color: var(--faint); }
#notice { position: sticky; top: 0; z-index: 1; margin: 0; padding: 0.5em 1em; background: #a8324a; color: #fff; }
"""

SCRIPT = """
const EVERY = 1000, PATIENCE = 30000;  // milliseconds
const main = document.querySelector("main"), states = document.querySelector("#states");
const notice = document.querySelector("#notice");
let seen = new Date(), told = "";

function put(section, html) {
  const moved = [...section.querySelectorAll(".wide")].map((e) => e.scrollLeft);
  const open = [...section.querySelectorAll("details")].map((e) => e.open);
  section.innerHTML = html;
  section.querySelectorAll(".wide").forEach((e, i) => { e.scrollLeft = moved[i] ?? 0; });
  section.querySelectorAll("details").forEach((e, i) => { e.open = open[i] ?? false; });
}

function isSelected(element) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(element, true);
}

function show(view) {
  if (told !== view.states && !isSelected(states)) states.innerHTML = told = view.states;
  let waits = false;
  view.sections.forEach(({digest, html}, i) => {
    const section = main.children[i];
    if (section.dataset.digest === digest) return;
    if (isSelected(section)) { waits = true; return; }
    put(section, html);
    section.dataset.digest = digest;
  });
  if (!waits) main.dataset.version = view.version;
}

function say(text) {
  notice.textContent = text;
  notice.hidden = !text;
}

async function look() {
  const leave = new AbortController(), timer = setTimeout(() => leave.abort(), PATIENCE);
  try {
    const where = `now${location.search}&seen=${main.dataset.version}`;
    const answer = await fetch(where, {cache: "no-store", signal: leave.signal});
    if (!answer.ok) throw new Error(answer.status);
    const view = await answer.json();
    show(view);
    seen = new Date();
    say(view.problem);
  } catch {
    say(`cllm watch does not answer any more. This is how it was at ${seen.toLocaleTimeString()}.`);
  }
  clearTimeout(timer);
  setTimeout(next, EVERY);
}

function next() {  // nobody looks at a page in the background
  if (document.hidden) document.addEventListener("visibilitychange", next, {once: true});
  else look();
}

next();
"""


def live_page(view: View, nonce: str) -> str:
    """The whole page; nonce: what the policy of its header lets the script run by."""
    notice = f'<p id="notice"{"" if view.problem else " hidden"}>{escape(view.problem)}</p>'
    parts = "".join(f'<div data-digest="{one.digest}">{one.html}</div>' for one in view.sections)
    main = f'<main data-version="{view.version}">{parts}</main>'
    body = f'{notice}<div id="states">{view.states}</div>{main}<script nonce="{nonce}">{SCRIPT}</script>'
    return document(view.title, body, LIVE_STYLE)


def news(view: View, seen: str) -> str:
    """What the script asks for, as JSON: the sections only where they are not of the version that was seen."""
    told = asdict(view)
    if seen == str(view.version):
        told["sections"] = []
    return json.dumps(told)
