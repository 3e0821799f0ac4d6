"""Styles of people writing to each other, and verse: mail, chats, poems."""

from __future__ import annotations

from collections.abc import Iterator

from training.filler.english import capitalized
from training.filler.grammar import Person, Voice
from training.filler.rules import RULES


def email(voice: Voice) -> Iterator[str]:
    """A thread of mails: headers, text, signatures, and what was quoted."""
    text, subject = RULES["mail"], RULES["mail_subject"](voice)
    quoted: list[str] = []
    while True:
        sender, receiver = voice.pick(voice.cast), voice.pick(voice.cast)
        address = f"{sender.first.lower()}.{sender.surname.lower()}@{RULES['mail_host'](voice)}"
        yield f"From: {sender.first} {sender.surname} <{address}>\n"
        yield f"To: {receiver.first} {receiver.surname}\n"
        yield (f"Date: {RULES['date'](voice)}, "
               f"{voice.number(0, 23):02}:{voice.number(0, 59):02}\n")
        yield f"Subject: {'Re: ' if quoted else ''}{subject}\n\n"
        yield f"{voice.pick(['Hi', 'Dear', 'Hello', 'Hey'])} {receiver.first},\n\n"
        written = []
        for _ in range(voice.number(1, 7)):
            voice.last = receiver
            written.append(text(voice))
            yield written[-1] + voice.pick([" ", " ", " ", "\n\n"])
        yield f"\n{RULES['mail_end'](voice)}\n{sender.first}\n\n"
        if quoted and voice.chance(0.6):
            yield f"On {RULES['date'](voice)}, {receiver.first} {receiver.surname} wrote:\n"
            for line in quoted:
                yield f"> {line}\n"
        quoted = written[:4]
        yield voice.pick(["\n", "-----\n", "-- \n"])


def letter(voice: Voice) -> Iterator[str]:
    """Letters from a salutation to a name, sometimes with an address and a postscript."""
    text = RULES["letter_text"]
    while True:
        voice.person()
        if voice.chance(0.5):
            yield RULES["letter_head"](voice) + "\n\n"
        yield RULES["letter_opening"](voice) + "\n\n"
        for _ in range(voice.number(1, 4)):
            for left in range(voice.number(1, 6), 0, -1):
                yield text(voice) + (" " if left > 1 else "\n\n")
        yield RULES["letter_end"](voice) + "\n\n"
        if voice.chance(0.3):
            yield f"P.S. {text(voice)}\n\n"


def _nickname(voice: Voice, person: Person) -> str:
    return voice.pick([person.first, person.first.lower(), person.first.lower() +
                       str(voice.number(1, 99)), f"{person.first} {person.surname[0]}."])


def chat(voice: Voice) -> Iterator[str]:
    """A chat of a few people, with or without the time, small letters and faces."""
    names = [_nickname(voice, person) for person in voice.cast]
    form, careless = voice.number(0, 4), voice.chance(0.6)
    day = RULES["isodate"](voice)
    minute = voice.number(0, 1400)
    message = RULES["chat_message"]
    while True:
        minute += voice.pick([0, 0, 0, 1, 1, 2, 7])
        clock = f"{minute // 60 % 24:02}:{minute % 60:02}"
        name, text = voice.pick(names), message(voice)
        if not careless and not text.startswith("http"):
            text = capitalized(text)
        if form == 0:
            yield f"[{clock}] {name}: {text}\n"
        elif form == 1:
            yield f"{clock} <{name}> {text}\n"
        elif form == 2:
            yield f"{name}: {text}\n"
        elif form == 3:
            yield f"{name} ({clock}): {text}\n"
        else:
            yield f"{name}, {day} {clock}\n{text}\n\n"


def poem(voice: Voice) -> Iterator[str]:
    """Stanzas of short lines, each with a capital, sometimes with a refrain and a title."""
    line, title = RULES["verse"], RULES["verse_title"]
    refrain = line(voice)
    while True:
        if voice.chance(0.3):
            yield title(voice) + "\n\n"
        length = voice.number(2, 6)
        for left in range(length, 0, -1):
            text = refrain if left == 1 and voice.chance(0.2) else line(voice)
            stop = voice.pick(["", "", ",", ",", ";", ".", "!"]) if left > 1 else "."
            if text[-1] in "?!":
                stop = ""
            yield capitalized(text) + stop + ("\n" if left > 1 else "\n\n")
