"""Pages that open offline: pictures are part of them, and nothing is loaded from elsewhere or run.

All text that came with the data is escaped, since pages are opened in MLflow, which runs what it finds in them.
"""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

WIDEST = 80


def assembled(title: str, sections: Iterable[str], style: str = "") -> str:
    """A page of sections, which are HTML already; `style` goes on where the common one ends."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}{style}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(sections)}</body></html>'


def section(title: str, content: str) -> str:
    return f"<h2>{title}</h2>{content}"


def text(words: str, style: str = "") -> str:
    return f'<p class="{style}">{escape(words)}</p>' if style else f"<p>{escape(words)}</p>"


def bullets(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def table(head: Sequence[str], lines: Iterable[Sequence[tuple[Any, str]]]) -> str:
    """An HTML table; each cell is its text, which is escaped, and its class. An empty head is left out."""
    top = "".join(f"<th>{escape(short(name))}</th>" for name in head)
    top = f"<tr>{top}</tr>" if head else ""
    body = "".join(
        "<tr>" + "".join(f'<td class="{style}">{escape(str(text))}</td>' for text, style in line) + "</tr>"
        for line in lines
    )
    return f'<div class="wide"><table>{top}{body}</table></div>'


def cell(value: Any) -> str:
    """A value as people read it: no trailing zeros, no midnight, a dash for what is absent."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.8g}"
    return short(str(value).removesuffix(" 00:00:00"))


def kind(value: Any) -> str:
    return "number" if isinstance(value, int | float) else ""


def short(text: str, most: int = WIDEST) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def picture(name: str, content: bytes) -> str:
    source = base64.b64encode(content).decode()
    return f'<img alt="{escape(name)}" src="data:image/png;base64,{source}">'


STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#1a202c}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin:2rem 0 .4rem}h3{font-size:1rem;margin:1.2rem 0 .3rem}
.account{background:#f7fafc;border-left:4px solid #2b6cb0;padding:.6rem .9rem}
table{border-collapse:collapse;font-size:13px}.wide{overflow-x:auto}
td,th{border-bottom:1px solid #e2e8f0;padding:.25rem .7rem;text-align:left;vertical-align:top}
th{background:#f7fafc;white-space:nowrap}.number{text-align:right;font-variant-numeric:tabular-nums}
.code{font-family:ui-monospace,monospace;word-break:break-all}
.columns{display:grid;grid-template-columns:1fr 1fr;gap:0 2rem}.columns p{margin:1rem 0 .2rem}.columns table{width:100%}
.quiet{color:#718096}ul{margin:.3rem 0;padding-left:1.3rem}
.good{color:#276749}.bad{color:#c53030;font-weight:600}img{max-width:100%;display:block;margin:1.6rem 0}
"""
