"""Styles that training never uses: a stage play, marked-up pages, subtitles, a ship's log."""

from __future__ import annotations

from collections.abc import Iterator

from training.filler.grammar import Voice
from training.filler.rules import RULES


def play(voice: Voice) -> Iterator[str]:
    """Speeches under names in capitals, with stage directions."""
    direction, manner = RULES["stage"], RULES["stage_manner"]
    speech, setting = RULES["stage_speech"], RULES["stage_setting"]
    names = [person.first.upper() for person in voice.cast] + ["FIRST GUARD", "CHORUS"]
    while True:
        yield f"ACT {voice.pick(['ONE', 'TWO', 'THREE', 'FOUR'])}, SCENE {voice.number(1, 9)}\n\n"
        yield setting(voice) + "\n\n"
        for _ in range(voice.number(8, 30)):
            if voice.chance(0.15):
                yield f"[{direction(voice)}]\n\n"
            aside = f" ({manner(voice)})" if voice.chance(0.15) else ""
            yield f"{voice.pick(names)}{aside}. {speech(voice)}\n"


def markup(voice: Voice) -> Iterator[str]:
    """The source of a web page: tags, attributes and short texts, opened and closed."""
    text, word = RULES["page_text"], RULES["word_"]
    open_tags: list[str] = []
    while True:
        indent = "  " * len(open_tags)
        if len(open_tags) < 4 and voice.chance(0.3):
            open_tags.append(voice.pick(["div", "ul", "table", "section", "p", "nav", "form"]))
            yield f'{indent}<{open_tags[-1]} class="{word(voice)}-{voice.number(1, 12)}">\n'
        elif open_tags and voice.chance(0.3):
            yield f"{indent[2:]}</{open_tags.pop()}>\n"
        elif voice.chance(0.2):
            yield (f'{indent}<img src="/{word(voice)}/{voice.number(1, 999)}.png" '
                   f'alt="{text(voice)}" width="{voice.number(10, 900)}">\n')
        else:
            tag = voice.pick(["li", "td", "span", "b", "h2", "a", "em", "option", "label"])
            yield f"{indent}<{tag}>{text(voice)}</{tag}>\n"


def subtitles(voice: Voice) -> Iterator[str]:
    """Numbered lines of speech with the time at which each is shown."""
    speech = RULES["stage_speech"]
    millisecond = voice.number(0, 3_000_000)
    number = voice.number(1, 500)
    while True:
        ends = millisecond + voice.number(700, 5000)
        yield f"{number}\n{_time(millisecond)} --> {_time(ends)}\n"
        yield ("- " if voice.chance(0.2) else "") + speech(voice) + "\n\n"
        number += 1
        millisecond = ends + voice.number(40, 9000)


def _time(millisecond: int) -> str:
    second = millisecond // 1000
    return (f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02},"
            f"{millisecond % 1000:03}")


def ship_log(voice: Voice) -> Iterator[str]:
    """The watches of a ship: time, position, wind, and what was seen, in clipped sentences."""
    entry = RULES["ship_entry"]
    hour = voice.number(0, 23)
    while True:
        hour = (hour + voice.number(1, 4)) % 24
        yield (f"{hour:02}{voice.pick(['00', '15', '30', '40'])} hrs. "
               f"{voice.number(0, 80)}°{voice.number(0, 59)}'{voice.pick('NS')} "
               f"{voice.number(0, 179)}°{voice.number(0, 59)}'{voice.pick('EW')}. ")
        for left in range(voice.number(1, 4), 0, -1):
            yield entry(voice) + (" " if left > 1 else "\n")
