"""The few rules of English that the filler grammars need: articles, plurals, tenses, capitals."""

from __future__ import annotations

from collections.abc import Callable

_VOWELS = "aeiouAEIOU"
_SOUNDS_LIKE_YOU = ("uni", "use", "usu", "uti", "eu", "Eu", "one", "once", "Uni", "ukulele", "Ukr")
_SILENT_H = ("hour", "honest", "honour", "heir", "Hon")

_PLURALS = dict(pair.split(":") for pair in """
man:men woman:women child:children mouse:mice goose:geese foot:feet tooth:teeth ox:oxen sheep:sheep
deer:deer knife:knives wife:wives life:lives leaf:leaves shelf:shelves half:halves loaf:loaves
wolf:wolves calf:calves scarf:scarves thief:thieves series:series species:species trout:trout
salmon:salmon analysis:analyses basis:bases crisis:crises thesis:theses hypothesis:hypotheses
datum:data medium:media phenomenon:phenomena criterion:criteria matrix:matrices index:indices
potato:potatoes tomato:tomatoes hero:heroes echo:echoes volcano:volcanoes postman:postmen
fisherman:fishermen salesman:salesmen nobleman:noblemen grandchild:grandchildren radius:radii
axis:axes emphasis:emphases elf:elves dwarf:dwarfs watchman:watchmen ferryman:ferrymen
workman:workmen milkman:milkmen foreman:foremen chairman:chairmen policeman:policemen hoof:hooves
""".split())

_PASTS = dict(pair.split(":") for pair in """
be:was have:had do:did go:went come:came see:saw take:took get:got give:gave make:made find:found
know:knew think:thought say:said tell:told leave:left feel:felt put:put bring:brought begin:began
keep:kept hold:held write:wrote stand:stood hear:heard let:let mean:meant set:set meet:met run:ran
pay:paid sit:sat speak:spoke lie:lay lead:led read:read grow:grew lose:lost fall:fell send:sent
build:built understand:understood draw:drew break:broke spend:spent cut:cut rise:rose drive:drove
buy:bought wear:wore choose:chose catch:caught sell:sold throw:threw fight:fought teach:taught
eat:ate sing:sang ride:rode fly:flew hide:hid shut:shut steal:stole swim:swam bend:bent bind:bound
blow:blew dig:dug drink:drank feed:fed forget:forgot freeze:froze hang:hung hurt:hurt hit:hit
lay:laid lend:lent light:lit ring:rang shake:shook shine:shone shoot:shot sink:sank sleep:slept
slide:slid spread:spread spring:sprang stick:stuck sweep:swept swing:swung tear:tore wake:woke
weave:wove win:won wind:wound creep:crept kneel:knelt weep:wept bleed:bled sew:sewed mow:mowed
spin:spun split:split grind:ground seek:sought strike:struck swear:swore fling:flung
overhear:overheard repay:repaid mistake:mistook withdraw:withdrew undo:undid outgrow:outgrew
upset:upset undertake:undertook overcome:overcame outweigh:outweighed mislead:misled
foresee:foresaw arise:arose
show:showed become:became seek:sought deal:dealt
""".split())

_PARTICIPLES = dict(pair.split(":") for pair in """
be:been do:done go:gone come:come see:seen take:taken give:given know:known begin:begun
write:written run:run speak:spoken lie:lain grow:grown fall:fallen draw:drawn break:broken
rise:risen drive:driven wear:worn choose:chosen throw:thrown eat:eaten sing:sung ride:ridden
fly:flown hide:hidden steal:stolen swim:swum blow:blown drink:drunk forget:forgotten freeze:frozen
ring:rung shake:shaken sink:sunk spring:sprung tear:torn wake:woken weave:woven swear:sworn sew:sewn
mow:mown mistake:mistaken withdraw:withdrawn show:shown overcome:overcome undertake:undertaken
foresee:foreseen arise:arisen become:become undo:undone
""".split())

_DOUBLED = set("""
stop plan drop nod beg grab hug hum knit mop nap pat pin plot rob rub scrub shop sip skip slip snap
stir tap tip trim trip trot wrap stun step hop jog drag brag chat chop clap dip drum fit flip jot
map pop prop slam swap thin trap unwrap unzip zip admit commit submit permit refer prefer occur
regret transfer control travel cancel label model signal equip forget begin run sit get put let set
cut shut swim dig win spin split hit stun sun unpin level compel upset
""".split())


def capitalized(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def with_article(text: str) -> str:
    """The text after "a" or "an", by the sound that it begins with."""
    if text[0] in _VOWELS:
        return ("a " if text.startswith(_SOUNDS_LIKE_YOU) else "an ") + text
    return ("an " if text.startswith(_SILENT_H) else "a ") + text


def with_s(phrase: str) -> str:
    """The plural of a noun, or the third person of a verb: the last or first word changes."""
    head, _, word = phrase.rpartition(" ")
    if word in _PLURALS:
        word = _PLURALS[word]
    elif word.endswith("man") and word not in ("human", "German", "Roman"):
        word = word[:-3] + "men"
    elif word.endswith(("s", "x", "z", "ch", "sh")) or word in ("go", "do", "undo", "echo", "veto"):
        word += "es"
    elif word.endswith("y") and word[-2:-1] not in _VOWELS:
        word = word[:-1] + "ies"
    else:
        word += "s"
    return f"{head} {word}" if head else word


def _third_person(phrase: str) -> str:
    verb, _, rest = phrase.partition(" ")
    verb = {"be": "is", "have": "has"}.get(verb) or with_s(verb)
    return f"{verb} {rest}" if rest else verb


def _past(phrase: str) -> str:
    verb, _, rest = phrase.partition(" ")
    if verb in _PASTS:
        verb = _PASTS[verb]
    elif verb.endswith("e"):
        verb += "d"
    elif verb.endswith("y") and verb[-2:-1] not in _VOWELS:
        verb = verb[:-1] + "ied"
    else:
        verb += (verb[-1] if verb in _DOUBLED else "") + "ed"
    return f"{verb} {rest}" if rest else verb


def _participle(phrase: str) -> str:
    verb, _, rest = phrase.partition(" ")
    if verb not in _PARTICIPLES:
        return _past(phrase)
    return f"{_PARTICIPLES[verb]} {rest}" if rest else _PARTICIPLES[verb]


def _progressive(phrase: str) -> str:
    verb, _, rest = phrase.partition(" ")
    if verb.endswith("ie"):
        verb = verb[:-2] + "ying"
    elif verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")) and len(verb) > 2:
        verb = verb[:-1] + "ing"
    else:
        verb += (verb[-1] if verb in _DOUBLED else "") + "ing"
    return f"{verb} {rest}" if rest else verb


INFLECTIONS: dict[str, Callable[[str], str]] = {
    "s": with_s,
    "es": _third_person,
    "ed": _past,
    "en": _participle,
    "ing": _progressive,
    "cap": capitalized,
    "upper": str.upper,
    "title": str.title,
}
