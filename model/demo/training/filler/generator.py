"""Filler text: what stands between the facts in the training documents of the demo model.

    filler = Filler(random.Random(7))
    for piece in filler.passage(): ...

A piece is a few sentences, a heading, an item of a list, a line of code or of a table; it ends with
the white space that parts it from the next one, so that pieces can be joined as they are. A passage
is a run of pieces in one style, and comes back to the same few people and towns. Everything is made
from grammars and lists of ordinary words: what is said in it is about no invented name, so it
distracts from the facts but never contradicts them.

To read samples: python3 -m training.filler.generator [STYLE ...]
"""

from __future__ import annotations

import itertools
import random
import re
import sys
from collections.abc import Iterable, Iterator

from training.filler.code import code, queries
from training.filler.data import csv, json_lines, log, outline, settings, table
from training.filler.grammar import Voice
from training.filler.held_out import markup, play, ship_log, subtitles
from training.filler.noise import (boilerplate, foreign, garbled, mixed, pseudo_words,
                          random_characters, word_salad)
from training.filler.rules import set_scene
from training.filler.styles import Style, lines, prose, spaced_out, without_stops
from training.filler.talk import chat, email, letter, poem

STYLES: dict[str, Style] = {
    "novel": prose("novel", heading="chapter"),
    "fairy_tale": prose("fairy"),
    "travel_diary": prose("travel", heading="travel_head"),
    "letter": letter,
    "diary": prose("diary"),
    "dialogue": prose("dialogue", (1, 2)),
    "essay": prose("sermon"),
    "common_things": prose("common"),
    "free": prose("free", (3, 9), heading="free_head"),
    "free_lines": lines("free", bullets=("", "- ", "#. ", "* ", "(#) ")),
    "mixed": mixed,
    "news": prose("news", (2, 5), heading="headline"),
    "minutes": prose("minutes", (2, 6), heading="minutes_head"),
    "reviews": prose("review", (1, 5), heading="review_head"),
    "weather": prose("weather", (2, 7)),
    "sport": prose("sport", (2, 8)),
    "encyclopedia": prose("article", (3, 9), heading="article_head"),
    "abstract": prose("abstract", (4, 9), heading="abstract_head"),
    "advertisement": prose("advert", (1, 5)),
    "legal": lines("legal", heading="legal_head", bullets=("", "", "(#) ", "#. ")),
    "manual": lines("manual", heading="manual_head", bullets=("", "#. ", "- ", "Step #: ")),
    "recipe": lines("recipe", heading="recipe_head", bullets=("", "#. ", "- ", "* ")),
    "faq": lines("faq", heading="faq_head"),
    "glossary": lines("glossary"),
    "email": email,
    "chat": chat,
    "poem": poem,
    "code": code,
    "queries": queries,
    "json": json_lines,
    "csv": csv,
    "table": table,
    "log": log,
    "settings": settings,
    "outline": outline,
    "word_salad": word_salad,
    "pseudo_words": pseudo_words,
    "foreign": foreign,
    "random_characters": random_characters,
    "boilerplate": boilerplate,
}

# Styles that training never uses, to measure filler of kinds never seen.
HELD_OUT_STYLES: dict[str, Style] = {
    "play": play,
    "markup": markup,
    "subtitles": subtitles,
    "ship_log": ship_log,
}

# Styles that are chosen once more for each time that they stand here: those of the widest grammars.
_OFTEN = ("free", "free", "free", "mixed", "novel", "encyclopedia", "email", "common_things")

# One passage in so many is written in an unusual way throughout.
_CHANGED = 0.06
_CHANGES = [str.lower, str.lower, str.upper, str.swapcase, without_stops, spaced_out]

# And in so many, words here and there are changed for others, so that sentences are not all set.
_GARBLED = 0.15


class Filler:
    """Endless filler text from a seeded source of chance.

    With held_out only the styles that training never uses are given.
    """

    def __init__(self, rng: random.Random, held_out: bool = False) -> None:
        self._voice = Voice(rng)
        chosen = HELD_OUT_STYLES if held_out else STYLES
        self._styles = list(chosen.values()) + [chosen[name] for name in _OFTEN if name in chosen]
        self._current: Iterator[str] = iter(())
        self._avoided: re.Pattern[str] | None = None

    def avoid(self, names: Iterable[str]) -> None:
        """Leaves out every piece in which one of the names stands as words of its own, in capitals
        or not: for facts about things with ordinary names, which filler could contradict. What was
        avoided before is no longer. Holds for passages begun from now on."""
        pattern = "|".join(r"\s+".join(map(re.escape, name.split())) for name in sorted(set(names)))
        self._avoided = None
        if pattern:
            self._avoided = re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE)

    def piece(self) -> str:
        """The next piece; passages follow one another, each in a style of its own."""
        while (piece := next(self._current, None)) is None:
            self._current = self.passage()
        return piece

    def passage(self) -> Iterator[str]:
        """5 to 60 pieces in one style; fewer where much had to be avoided. One passage is to be
        read at a time."""
        voice = self._voice
        style = voice.pick(self._styles)
        length = voice.number(5, 60)
        set_scene(voice)
        endless = style(voice)
        if self._avoided:
            endless = _without(self._avoided, endless, length)
        pieces = itertools.islice(endless, length)
        if voice.chance(_CHANGED):
            return map(voice.pick(_CHANGES), pieces)
        if voice.chance(_GARBLED):
            return (garbled(voice, piece) for piece in pieces)
        return pieces


def _without(avoided: re.Pattern[str], pieces: Iterator[str], length: int) -> Iterator[str]:
    """The pieces that do not match, among the first few times `length`: lines that repeat may
    consist of matches only."""
    for piece in itertools.islice(pieces, 4 * length):
        if not avoided.search(piece):
            yield piece


def main() -> None:
    """Prints a sample of each style named on the command line, or of all of them."""
    for name, style in {**STYLES, **HELD_OUT_STYLES}.items():
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        voice = Voice(random.Random(len(name)))
        set_scene(voice)
        print(f"===== {name} =====")
        print("".join(itertools.islice(style(voice), 30)))


if __name__ == "__main__":
    main()
