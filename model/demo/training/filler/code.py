"""Program code in a few languages, a line a piece, with the right indentation."""

from __future__ import annotations

from collections.abc import Iterator

from training.filler.grammar import Voice
from training.filler.rules import RULES

_statement = {language: RULES[f"{language}_statement"] for language in ("py", "c", "js")}
_head = {language: RULES[f"{language}_head"] for language in ("py", "c", "js")}
_block = {language: RULES[f"{language}_block"] for language in ("py", "c", "js")}


def _function(voice: Voice, language: str) -> Iterator[str]:
    """One function: its head, nested blocks and statements, and what closes them."""
    braces = language != "py"
    step = "  " if language == "js" else "    "
    yield _head[language](voice) + "\n"
    depth, just_opened = 1, True
    for _ in range(voice.number(2, 14)):
        if depth < 4 and voice.chance(0.25):
            yield step * depth + _block[language](voice) + "\n"
            depth, just_opened = depth + 1, True
            continue
        yield step * depth + _statement[language](voice) + "\n"
        just_opened = False
        if depth > 1 and voice.chance(0.4):
            depth -= 1
            if braces:
                yield step * depth + "}\n"
    if just_opened:
        yield step * depth + ("pass" if not braces else "return 0;") + "\n"
    while braces and depth > 0:
        depth -= 1
        yield step * depth + "}\n"
    yield "\n"


def code(voice: Voice) -> Iterator[str]:
    """Functions in one language, with comments and lines of imports."""
    language = voice.pick(["py", "py", "c", "js"])
    importing, mark = RULES[f"{language}_import"], "#" if language == "py" else "//"
    for _ in range(voice.number(0, 6)):
        yield importing(voice) + "\n"
    while True:
        if voice.chance(0.4):
            yield f"{mark} {RULES['code_comment'](voice)}\n"
        yield from _function(voice, language)


def queries(voice: Voice) -> Iterator[str]:
    """Statements of SQL, or a session in a shell."""
    rule = RULES[voice.pick(["sql", "shell"])]
    while True:
        yield rule(voice) + "\n"
