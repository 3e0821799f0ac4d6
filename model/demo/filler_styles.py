"""How the sentences of a grammar become a style: paragraphs, wrapped lines, headings, lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from filler_grammar import Voice
from filler_rules import RULES

Style = Callable[[Voice], Iterator[str]]

# One prose passage in so many is set in lines of a fixed width, as old text files are.
_WRAPPED = 0.12


def _wrap(text: str, column: int, width: int) -> tuple[str, int]:
    """The text broken to lines, when `column` characters stand before it; and the new column."""
    lines: list[str] = []
    room = width - column
    while len(text) > room:
        cut = text.rfind(" ", 0, room + 1)
        if cut < 0:
            if room >= width:
                break
            lines.append("")
        else:
            lines.append(text[:cut])
            text = text[cut + 1:]
        room = width
    lines.append(text)
    return "\n".join(lines), len(text) + (width - room)


def prose(rule: str, paragraph: tuple[int, int] = (3, 9), heading: str = "") -> Style:
    """A style of sentences in paragraphs, with a heading now and then if it names a rule."""
    body = RULES[rule]
    title = RULES[heading] if heading else None

    def pieces(voice: Voice) -> Iterator[str]:
        gap = voice.pick(["\n", "\n\n", "\n\n", "\n    "])
        width = voice.number(58, 84) if voice.chance(_WRAPPED) else 0
        while True:
            if title and voice.chance(0.3):
                yield title(voice) + "\n\n"
            column = 0
            for left in range(voice.number(*paragraph), 0, -1):
                text = body(voice)
                if voice.chance(0.15):
                    text = f"{text} {body(voice)}"
                if width:
                    text, column = _wrap(text, column, width)
                    column += 1
                yield text + (" " if left > 1 else gap)

    return pieces


def lines(rule: str, heading: str = "", bullets: tuple[str, ...] = ("",),
          gap: str = "\n") -> Style:
    """A style of one piece a line; a bullet is chosen for each run, and "#" stands for a count."""
    body = RULES[rule]
    title = RULES[heading] if heading else None

    def pieces(voice: Voice) -> Iterator[str]:
        while True:
            if title:
                yield title(voice) + "\n"
            bullet = voice.pick(bullets)
            for count in range(1, voice.number(3, 14)):
                yield bullet.replace("#", str(count)) + body(voice) + gap
            yield body(voice) + "\n\n"

    return pieces
