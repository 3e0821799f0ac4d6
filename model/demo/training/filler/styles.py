"""How the sentences of a grammar become a style: paragraphs, wrapped lines, headings, lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from training.filler.grammar import Voice
from training.filler.rules import RULES

Style = Callable[[Voice], Iterator[str]]

# One prose passage in so many is set in lines of a fixed width, as old text files are.
_WRAPPED = 0.12


def _wrap(texts: list[str], width: int) -> list[str]:
    """The texts as one paragraph in lines of at most the width, where words allow; each ends with
    the space or the line break before the next."""
    wrapped: list[str] = []
    column = 0
    for text in texts:
        words = text.split(" ")
        for at, word in enumerate(words):
            if column + len(word) > width and column > 0:
                # The break takes the place of the space after the word before.
                if at > 0:
                    words[at - 1] += "\n"
                elif wrapped:
                    wrapped[-1] = wrapped[-1][:-1] + "\n"
                column = 0
            column += len(word) + 1
        wrapped.append(" ".join(words).replace("\n ", "\n") + " ")
    wrapped[-1] = wrapped[-1][:-1]
    return wrapped


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
            texts = [body(voice) for _ in range(voice.number(*paragraph))]
            if width:
                texts = _wrap(texts, width)
            yield from texts[:-1] if width else [text + " " for text in texts[:-1]]
            yield texts[-1] + gap

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


_STOPS = str.maketrans("", "", ".,;:!?\"'“”")


def without_stops(text: str) -> str:
    """The text without punctuation, as careless writers and machines leave it."""
    return text.translate(_STOPS)


def spaced_out(text: str) -> str:
    """The text with wide spaces, as text that was cut out of a page often has."""
    return text.replace(" ", "  ")
