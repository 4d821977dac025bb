"""The table of all codes as a page for people: docs/analysis.md between its two marks. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from istiod.analyze.codes import Code

BEGIN, END = "<!-- codes: begin -->", "<!-- codes: end -->"


def table(codes: Mapping[str, Code]) -> str:
    """A Markdown table, one line a code, by severity and word."""
    lines = ["| Code | Severity | What it means | What to do | Istio |", "|---|---|---|---|---|"]
    for code in sorted(codes.values(), key=lambda code: (-code.severity, code.word)):
        cells = (f"`{code.word}`", code.severity.name.lower(), code.meaning, code.action, code.istio)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def with_table(page: str, codes: Mapping[str, Code]) -> str:
    """The page with the table as it is now between the marks; raises ValueError if they are not there."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has not the marks {BEGIN} and {END}")
    return f"{head}{BEGIN}\n{table(codes)}\n{END}{tail}"
