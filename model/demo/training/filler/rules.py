"""The one compiled grammar of the filler text, and the people and towns of a passage."""

from __future__ import annotations

from training.filler.common import COMMON
from training.filler.free import FREE, WORDS
from training.filler.grammar import Grammar, Person, Voice
from training.filler.machine import CODE, DATA
from training.filler.names import CITIES, COUNTRIES, MEN, NATIONS, RIVERS, SURNAMES, WOMEN
from training.filler.prose import PROSE
from training.filler.public import PUBLIC
from training.filler.spoken import FOOTER, HELD_OUT, TALK
from training.filler.technical import TECHNICAL
from training.filler.words import LISTS

_NAMES = {
    "man": MEN, "woman": WOMEN, "surname": SURNAMES, "city": CITIES, "country": COUNTRIES,
    "nation": NATIONS, "river": RIVERS, "initial": list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
}


def _who(voice: Voice) -> str:
    return voice.person().first


def _whole(voice: Voice) -> str:
    person = voice.person()
    return f"{person.first} {person.surname}"


def _mr(voice: Voice) -> str:
    person = voice.person()
    return f"{person.title} {person.surname}"


def _town(voice: Voice) -> str:
    return voice.pick(voice.towns)


def _last(voice: Voice) -> Person:
    return voice.last or voice.person()


RULES = Grammar({**LISTS, **WORDS, **_NAMES}, {
    "who": _who,
    "whole": _whole,
    "mr": _mr,
    "town": _town,
    "he": lambda voice: _last(voice).he,
    "his": lambda voice: _last(voice).his,
    "him": lambda voice: _last(voice).him,
}, [COMMON, FREE, PROSE, PUBLIC, TECHNICAL, DATA, CODE, TALK, FOOTER, HELD_OUT])


def set_scene(voice: Voice) -> None:
    """Chooses the people and towns that the next passage keeps coming back to."""
    voice.cast = []
    for _ in range(voice.number(2, 5)):
        if voice.chance(0.5):
            person = Person(voice.pick(MEN), voice.pick(SURNAMES), "Mr", "he", "his", "him")
        else:
            person = Person(voice.pick(WOMEN), voice.pick(SURNAMES), "Mrs", "she", "her", "her")
        voice.cast.append(person)
    voice.towns = [voice.pick(CITIES) for _ in range(voice.number(1, 3))]
    voice.last = None
