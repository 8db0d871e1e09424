"""Parts of a page -> HTML text. All text is escaped here; only `Markup` goes through as it is."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Sequence
from html import escape
from typing import Final


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Anything as text of a page."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def element(name: str, *content: object, **attributes: str) -> Markup:
    """`<name ...>content</name>`; an attribute `class_` is `class`."""
    given = "".join(f' {key.rstrip("_")}="{escape(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{given}>{''.join(map(text, content))}</{name}>")


def section(title: str, *content: object) -> Markup:
    """A part of the page; empty when all its content is."""
    inside = [part for part in content if part]
    if not inside:
        return Markup("")
    return element("section", element("h2", title), *inside)


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    text_columns: Collection[int] = (0,),
) -> Markup:
    """A table that scrolls sideways where the page is narrow; all but text columns stand right.

    Empty without rows.
    """

    def row(name: str, values: Sequence[object]) -> Markup:
        cells = (
            element(name, value) if place in text_columns else element(name, value, class_="number")
            for place, value in enumerate(values)
        )
        return element("tr", *cells)

    body = [row("td", values) for values in rows]
    if not body:
        return Markup("")
    head = element("thead", row("th", headings))
    return element("div", element("table", head, element("tbody", *body)), class_="scroll")


def image(jpeg: bytes, *, alt: str) -> Markup:
    """A picture that the page carries in itself."""
    source = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
    return Markup(f'<img src="{source}" alt="{escape(alt)}" loading="lazy">')


def folded(summary: str, *content: object, is_open: bool = False) -> Markup:
    """Content behind a line that opens it."""
    inside = element("summary", summary) + Markup("".join(map(text, content)))
    return Markup(f"<details{' open' if is_open else ''}>{inside}</details>")


def page(title: str, *content: object) -> str:
    """A whole document that needs nothing from anywhere else."""
    body = "".join(map(text, content))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b2530; --quiet: #5d6b79; --paper: #ffffff;
  --panel: #f4f6f8; --line: #d8dee4; --accent: #3584d6; --good: #1f9e72; --bad: #cf4a3c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e8ed; --quiet: #9aa7b4;
  --paper: #14191f; --panel: #1d242c; --line: #333d48; --accent: #4c97e3; --bad: #ec6b5c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 1.6rem; margin: 0 0 2px; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 40px 0 12px; padding-bottom: 6px;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 22px 0 8px; }
p { margin: 6px 0; } .quiet { color: var(--quiet); overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 12px;
  margin: 20px 0 0; }
.tile { background: var(--panel); border-radius: 8px; padding: 12px 14px; }
.tile b { display: block; font-size: 1.5rem; font-weight: 650; line-height: 1.25; }
.tile span { color: var(--quiet); font-size: .85rem; }
.scroll { overflow-x: auto; margin: 8px 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: 5px 12px; text-align: left; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { color: var(--quiet); font-weight: 600; } .number { text-align: right; }
.confusion td.number { min-width: 44px; text-align: center; padding: 6px 8px;
  background: color-mix(in srgb, var(--accent) calc(var(--share) * 70%), transparent); }
.confusion th.number { text-align: center; padding: 6px 8px; }
figure { margin: 8px 0; display: grid; gap: 12px;
  grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); } figure svg { width: 100%; height: auto; display: block; }
.bar { display: flex; height: 12px; min-width: 180px; border-radius: 3px; overflow: hidden;
  background: var(--panel); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: .85rem; color: var(--quiet);
  margin: 6px 0; } .legend i { display: inline-block; width: 11px; height: 11px;
  border-radius: 2px; margin-right: 6px; }
.wait { background: #cf4a3c; } .copy { background: #e0a51a; } .forward { background: #3584d6; }
.backward { background: #1f9e72; } .optimiser { background: #8a63c9; } .rest { background: #98a3ad; }
.clips { display: grid; grid-template-columns: repeat(auto-fill, minmax(310px, 1fr)); gap: 16px; }
.clip { background: var(--panel); border-radius: 8px; padding: 10px 12px; min-width: 0; }
.clip img { width: 100%; height: auto; display: block; border-radius: 4px; background: #000; }
.clip p { margin: 0; overflow-wrap: anywhere; font-size: .9rem; }
.clip p:first-of-type { margin-top: 8px; font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); }
details { margin: 10px 0; } summary { cursor: pointer; color: var(--quiet); }
pre { background: var(--panel); border-radius: 8px; padding: 12px 14px; overflow-x: auto;
  font-size: .82rem; line-height: 1.45; }
@media (max-width: 640px) { .tiles { grid-template-columns: repeat(2, 1fr); } }
@media print { details { display: block; } .clip, .tile { break-inside: avoid; } }
"""
