"""Pages of HTML that need neither network nor script: their frame, style, pictures and tables."""

import base64
from collections.abc import Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark; --ink: #22303c; --page: #fff; --line: #dde3e8; --soft: #5d6b77;
  --code: #f3f5f6; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6ebef; --page: #14191d; --line: #35404a; --soft: #9fb0bd; --code: #1f272d; } }
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: var(--ink);
  background: var(--page); font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 1.5rem 0 .3rem; }
p { margin: .3rem 0; } .note { color: var(--soft); }
pre { padding: .6rem; background: var(--code); white-space: pre-wrap; }
figure { margin: 1rem 0; } img { max-width: 100%; background: #fff; border-radius: 6px; }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; }
th, td { padding: .25rem .6rem; text-align: left; vertical-align: top; }
th, td { border-bottom: 1px solid var(--line); overflow-wrap: normal; }
td.n, th.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
tr.strong td { font-weight: 600; }
"""


def wrap_page(title: str, parts: Sequence[str], *, style: str = "") -> str:
    """A whole page.

    Args:
        title: a text.
        parts: of the body, HTML already; empty ones are left out.
        style: rules of this page alone.
    """
    body = "\n".join(filter(None, parts))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def embed_picture(content: bytes, description: str) -> str:
    """A PNG file as a figure inside of the page, with a description for who cannot see it."""
    encoded = base64.b64encode(content).decode()
    return (
        f'<figure><img alt="{escape(description)}" src="data:image/png;base64,{encoded}"></figure>'
    )


def render_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers_from: int = 10**6,
    strong: int = -1,
) -> str:
    """A table of texts; columns from `numbers_from` on are aligned to the right."""

    def render(tag: str, cells: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=n' if place >= numbers_from else ''}>{escape(cell)}</{tag}>"
            for place, cell in enumerate(cells)
        )

    lines = [
        f"<tr{' class=strong' if place == strong else ''}>{render('td', row)}</tr>"
        for place, row in enumerate(rows)
    ]
    return (
        f'<div class="table"><table><thead><tr>{render("th", head)}</tr></thead><tbody>'
        f"{''.join(lines)}</tbody></table></div>"
    )
