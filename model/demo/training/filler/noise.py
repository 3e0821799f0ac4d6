"""Styles without sense: shuffled words, pseudo words, pseudo languages, letters and digits, and
lines that repeat."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence

from training.filler.english import capitalized
from training.filler.grammar import Voice
from training.filler.rules import RULES
from training.filler.words import LISTS

_WORDS = [word for name in sorted(LISTS) for word in LISTS[name]]
_PROSE = """
novel fairy travel letter_text diary dialogue sermon common news minutes review weather sport
article abstract legal manual recipe faq glossary advert mail chat_message verse footer log_message
free free bullet_text headline
""".split()
_SMALL_WORDS = """
the the the of of and and to to a a in in is was it that for on with as at by from he she they we I
not but or be are this which had has have were an his her their its all one no so if when what who
""".split()

# What the words of a pseudo language are made of: openings, vowels, closings, small words, marks.
_LANGUAGES: list[tuple[list[str], list[str], list[str], list[str], tuple[str, str]]] = [
    ("b br c ch d f gr l m n p pr qu r s t tr v".split(), "é è e a ai eau ou i oi u ê â".split(),
     "r s t n x l lle que nt".split() + [""] * 4,
     "le la les de du des et à un une où ça l’on pas ne".split(), ("« ", " »")),
    ("b d f g h k kl m n pf r s sch st t tr w z".split(), "a e i o u ä ö ü ei au ie".split(),
     "ch n nd ng r rt s ss ß t cht".split(),
     "der die das und zu für über von nicht im ein eine auf".split(), ("„", "“")),
    ("b c d f g l ll m n ñ p r rr s t v z".split(), "a e i o u á é í ó ú ie ue".split(),
     ["", "", "", "s", "n", "r", "l", "do", "ción"],
     "el la los las de y que en un una más está con".split(), ("¿", "?")),
    ("b c č d dl h k kr l m n p př r s š t v z ž".split(), "a á e é ě i í o u ů y ý".split(),
     ["", "", "k", "n", "l", "st", "š", "ch", "t"],
     "a i v na se je to že do za od byl".split(), ("„", "“")),
    ("b d f g h j k l m n p r s sk t tj v".split(), "a å ä e i o ö u y ø".split(),
     ["", "n", "r", "t", "rn", "nd", "de", "het", "sk"],
     "och i att det som en på är för av med".split(), ("”", "”")),
    ("b c d f g ğ h k l m n r s ş t v y z".split(), "a e ı i o ö u ü".split(),
     ["", "", "k", "l", "n", "r", "lar", "ler", "mak", "dır"],
     "ve bir bu da de için ile çok ne o".split(), ("“", "”")),
    ("h k l m n p r t v s j".split(), "a e i o u ä y aa ii uu ää".split(),
     ["", "", "n", "t", "lla", "ssa", "ksi"],
     "ja on ei se että kun niin oli mutta".split(), ('"', '"')),
    ("б в г д ж з к л м н п р с т ф х ч ш".split(), "а е и о у ы я ю ё".split(),
     ["", "", "н", "т", "й", "сь", "ть", "к"],
     "и в не на что я с он как это но".split(), ("«", "»")),
    ("β γ δ θ κ λ μ ν π ρ σ τ φ χ".split(), "α ε η ι ο υ ω ά έ ή ί ό".split(),
     ["", "", "ς", "ν"], "και το να η ο τα με για".split(), ("«", "»")),
]
_ENGLISH_LIKE = (
    "b bl br c ch cl cr d dr f fl fr g gl gr h j k l m n p pl pr qu r s sc sh sk sl sn sp st str "
    "sw t th tr tw v w wh".split(),
    "a e i o u ai ea ee ie oa oo ou".split(),
    "b ck d ff g l ll m mp n nd ng nk nt p r rd rk s sh sk st t tch th x ble ter ing er y".split())


def _word(voice: Voice, starts: Sequence[str], vowels: Sequence[str], ends: Sequence[str]) -> str:
    """One pseudo word of one to three syllables."""
    pick = voice.pick
    word = pick(starts) + pick(vowels)
    for _ in range(2):
        if voice.chance(0.45):
            word += pick(starts) + pick(vowels)
    return word + pick(ends)


def garbled(voice: Voice, text: str) -> str:
    """The text with some of its words in small letters changed for others, real ones or not."""
    words = text.split(" ")
    for at, word in enumerate(words):
        if word.islower() and word.isalpha() and voice.chance(0.25):
            words[at] = _word(voice, *_ENGLISH_LIKE) if voice.chance(0.3) else voice.pick(_WORDS)
    return " ".join(words)


def _sentence(voice: Voice, words: list[str]) -> str:
    """The words with a capital, commas and a stop."""
    for at in range(len(words) - 1):
        if voice.chance(0.1):
            words[at] += voice.pick([",", ",", ",", ";", " –", ":"])
    return capitalized(" ".join(words)) + voice.pick([".", ".", ".", ".", "?", "!", "..."])


def _gap(voice: Voice) -> str:
    return voice.pick([" ", " ", " ", " ", "\n", "\n\n"])


def mixed(voice: Voice) -> Iterator[str]:
    """Sentences of all other kinds of prose in turn, as in a page of cuttings."""
    rules = [RULES[name] for name in _PROSE]
    while True:
        yield voice.pick(rules)(voice) + _gap(voice)


def word_salad(voice: Voice) -> Iterator[str]:
    """Real words in no order, with or without stops, small words and capitals."""
    small, stops = voice.pick([0.0, 0.3, 0.5]), voice.chance(0.6)
    separator = voice.pick([" ", " ", " ", ", ", "\n", " / "])
    while True:
        words = [voice.pick(_SMALL_WORDS if voice.chance(small) else _WORDS)
                 for _ in range(voice.number(2, 24))]
        if stops and separator == " ":
            yield _sentence(voice, words) + _gap(voice)
        else:
            yield separator.join(words) + (separator if voice.chance(0.7) else "\n")


def pseudo_words(voice: Voice) -> Iterator[str]:
    """Words of no language that sound English, among real small words."""
    small = voice.pick([0.0, 0.35, 0.5])
    while True:
        words = [voice.pick(_SMALL_WORDS) if voice.chance(small) else _word(voice, *_ENGLISH_LIKE)
                 for _ in range(voice.number(3, 20))]
        yield _sentence(voice, words) + _gap(voice)


def foreign(voice: Voice) -> Iterator[str]:
    """Text that looks like a foreign language, with its accents and quotation marks."""
    starts, vowels, ends, small, (left, right) = voice.pick(_LANGUAGES)
    while True:
        words = [voice.pick(small) if voice.chance(0.4) else _word(voice, starts, vowels, ends)
                 for _ in range(voice.number(3, 22))]
        if voice.chance(0.1):
            words[-1] = str(voice.number(1, 2025))
        text = _sentence(voice, words)
        if voice.chance(0.12):
            text = f"{left}{text}{right}"
        yield text + _gap(voice)


def random_characters(voice: Voice) -> Iterator[str]:
    """Letters, digits and marks without meaning: keys, checksums, serial numbers, noise."""
    alphabets = [string.digits, string.hexdigits[:16], string.ascii_lowercase,
                 string.ascii_uppercase + string.digits,
                 string.ascii_letters + string.digits + "+/", string.printable[:94], "01", "ACGT"]
    alphabet = voice.pick(alphabets)
    shortest, longest = voice.pick([(1, 6), (4, 4), (8, 8), (2, 20), (16, 40)])
    separator = voice.pick([" ", " ", "-", "\n", ":"])
    while True:
        groups = ["".join(voice.rng.choices(alphabet, k=voice.number(shortest, longest)))
                  for _ in range(voice.number(1, 8))]
        yield separator.join(groups) + ("\n" if voice.chance(0.6) else " ")


def boilerplate(voice: Voice) -> Iterator[str]:
    """One or a few lines again and again, as in footers, forms and stuck machines."""
    rules = ["news", "manual", "legal", "advert", "common", "novel", "minutes", "footer"]
    block = [RULES[voice.pick(rules)](voice) for _ in range(voice.number(1, 4))]
    if voice.chance(0.3):
        block.append(voice.pick(["-", "=", "*", "~", ". ", "_"]) * voice.number(10, 70))
    numbered = voice.chance(0.4)
    count = voice.number(1, 300)
    while True:
        for text in block:
            yield text + "\n"
        if numbered:
            yield f"{voice.pick(['Page', '-', 'p.', 'Copy'])} {count}\n\n"
            count += 1
