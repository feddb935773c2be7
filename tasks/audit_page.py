"""The audit report for reading: one HTML page that opens offline, and the same as a PDF."""

import io
from html import escape
from pathlib import Path
from typing import Any

import matplotlib

from tasks.audit import Answer, Audit
from tasks.pages import assembled, bullets, picture, section, table, text

FONT, BOLD = "DejaVuSans", "DejaVuSans-Bold"  # has every sign that is used; matplotlib brings it along
WIDTH = 17.6  # centimetres between the margins
LONGEST = 400  # characters of a cell in the PDF: a row must fit a page


def basis(audit: Audit) -> list[str]:
    """What the whole report rests on."""
    checked = audit.checked
    said = [
        f"Made on {audit.made:%Y-%m-%d %H:%M:%S} UTC from signed evidence that verified as a whole; the journal's head "
        f"was {audit.head}.",
        f"Decision: {checked.decision}; {checked.standing}.",
    ]
    return said + [f"To be known: {each}" for each in checked.warnings]


def html(audit: Audit) -> bytes:
    parts = [f"<h1>{escape(audit.title)}</h1>", bullets(basis(audit)), contents(audit)]
    for place, answer in enumerate(audit.answers, start=1):
        drawn = audit.picture(answer)
        parts.append(
            f'<div id="q{place}">'
            + section(
                f"{place}. {escape(answer.question)}",
                "".join(text(said) for said in answer.said)
                + (table(answer.head, [[(each, "") for each in row] for row in answer.rows]) if answer.rows else "")
                + (picture(str(answer.picture), drawn) if drawn else "")
                + (text(f"Evidence: {answer.evidence}", "quiet") if answer.evidence else ""),
            )
            + "</div>"
        )
    return assembled(audit.title, parts).encode()


def contents(audit: Audit) -> str:
    links = (f'<li><a href="#q{place}">{escape(each.question)}</a></li>' for place, each in enumerate(audit.answers, 1))
    return f"<ol>{''.join(links)}</ol>"


def pdf(audit: Audit) -> bytes:
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.units import cm
    from reportlab.platypus import SimpleDocTemplate

    styles = styled()
    story = [paragraph(audit.title, styles["title"])]
    story += [paragraph(said, styles["said"]) for said in basis(audit)]
    for place, answer in enumerate(audit.answers, start=1):
        story += answered(audit, place, answer, styles)
    made = io.BytesIO()
    document = SimpleDocTemplate(
        made,
        pagesize=A4,
        title=audit.title,
        author="countersign",
        invariant=1,
        leftMargin=1.7 * cm,
        rightMargin=1.7 * cm,
        topMargin=1.5 * cm,
        bottomMargin=1.5 * cm,
    )
    document.build(story, onFirstPage=foot(audit), onLaterPages=foot(audit))
    return made.getvalue()


def styled() -> dict[str, Any]:
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    for name in (FONT, BOLD):
        pdfmetrics.registerFont(TTFont(name, Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"))
    said = ParagraphStyle("said", fontName=FONT, fontSize=8.5, leading=12, spaceAfter=3)
    return {
        "title": ParagraphStyle("title", said, fontName=BOLD, fontSize=14, leading=18, spaceAfter=8),
        "question": ParagraphStyle("question", said, fontName=BOLD, fontSize=10.5, leading=14, spaceBefore=9),
        "said": said,
        "cell": ParagraphStyle("cell", said, fontSize=6.5, leading=8, spaceAfter=0, splitLongWords=1),
        "quiet": ParagraphStyle("quiet", said, fontSize=7, leading=9, textColor="#718096"),
    }


def paragraph(said: str, style: Any) -> Any:
    from reportlab.platypus import Paragraph

    return Paragraph(escape(said), style)


def answered(audit: Audit, place: int, answer: Answer, styles: dict[str, Any]) -> list[Any]:
    from reportlab.lib.units import cm
    from reportlab.platypus import Image, Spacer

    found = [paragraph(f"{place}. {answer.question}", styles["question"])]
    found += [paragraph(said, styles["said"]) for said in answer.said]
    if answer.rows:
        found.append(drawn_table(answer, styles["cell"]))
    if drawn := audit.picture(answer):
        image = Image(io.BytesIO(drawn))
        scale = min(1.0, 12 * cm / image.drawWidth)
        image.drawWidth, image.drawHeight = image.drawWidth * scale, image.drawHeight * scale
        found += [Spacer(1, 4), image]
    if answer.evidence:
        found.append(paragraph(f"Evidence: {answer.evidence}", styles["quiet"]))
    return found


def drawn_table(answer: Answer, style: Any) -> Any:
    """Columns take the room that their longest content asks for, each at least a little."""
    from reportlab.lib.units import cm
    from reportlab.platypus import Table

    rows = [list(answer.head), *([each[:LONGEST] for each in row] for row in answer.rows)]
    asked = [min(max(len(str(row[at])) for row in rows), 48) + 4 for at in range(len(answer.head))]
    widths = [WIDTH * cm * each / sum(asked) for each in asked]
    lines = [("LINEBELOW", (0, 0), (-1, -1), 0.25, "#e2e8f0"), ("BACKGROUND", (0, 0), (-1, 0), "#f7fafc")]
    drawn = Table(
        [[paragraph(str(each), style) for each in row] for row in rows], colWidths=widths, repeatRows=1, hAlign="LEFT"
    )
    drawn.setStyle([*lines, ("VALIGN", (0, 0), (-1, -1), "TOP"), ("TOPPADDING", (0, 0), (-1, -1), 1.5)])
    return drawn


def foot(audit: Audit) -> Any:
    def draw(canvas: Any, document: Any) -> None:
        canvas.setFont(FONT, 6.5)
        canvas.drawString(document.leftMargin, 20, f"{audit.found.reference}, {audit.made:%Y-%m-%d %H:%M} UTC")
        canvas.drawRightString(document.pagesize[0] - document.rightMargin, 20, f"page {document.page}")

    return draw
