"""Styles of data: JSON, comma-separated values, log files, settings, tables, outlines."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from training.filler.grammar import Voice
from training.filler.rules import RULES

_key = RULES["key"]
_VALUES: dict[str, Callable[[Voice], str]] = {
    name: RULES[name]
    for name in ("fullname", "city", "country", "isodate", "integer", "decimal", "object", "adj",
                 "plainprice", "colour", "code_number", "food", "role", "percent", "clock",
                 "job_thing", "email_address", "truth")
}
# Names of columns with the values that they usually have.
_USUAL = [
    ("name", "fullname"), ("Name", "fullname"), ("customer", "fullname"), ("author", "fullname"),
    ("city", "city"), ("City", "city"), ("birthplace", "city"), ("country", "country"),
    ("date", "isodate"), ("Date", "isodate"), ("created_at", "isodate"), ("born", "isodate"),
    ("id", "integer"), ("No.", "integer"), ("count", "integer"), ("Quantity", "integer"),
    ("score", "decimal"), ("mean", "decimal"), ("value", "decimal"), ("ratio", "decimal"),
    ("item", "object"), ("Item", "object"), ("part", "object"), ("state", "adj"),
    ("price", "plainprice"), ("Amount", "plainprice"), ("colour", "colour"), ("color", "colour"),
    ("code", "code_number"), ("sku", "code_number"), ("version", "code_number"),
    ("food", "food"), ("dish", "food"), ("job", "role"), ("occupation", "role"),
    ("share", "percent"), ("growth", "percent"), ("time", "clock"), ("departs", "clock"),
    ("subject", "job_thing"), ("category", "job_thing"), ("email", "email_address"),
    ("active", "truth"), ("paid", "truth"),
]
_NUMBERS = {"integer", "decimal", "truth"}


def _columns(voice: Voice, low: int, high: int) -> list[tuple[str, str]]:
    """Names of columns and the rules of their values."""
    kinds = list(_VALUES)
    columns: dict[str, str] = {}
    for _ in range(voice.number(low, high)):
        if voice.chance(0.7):
            name, kind = voice.pick(_USUAL)
        else:
            name, kind = _key(voice), voice.pick(kinds)
        columns[name] = kind
    return list(columns.items())


def json_lines(voice: Voice) -> Iterator[str]:
    """JSON objects, one a line or spread over lines."""
    columns = _columns(voice, 2, 7)
    spread = voice.chance(0.4)
    while True:
        members = []
        for name, kind in columns:
            value = _VALUES[kind](voice)
            if kind not in _NUMBERS:
                value = f'"{value}"'
            members.append(f'"{name}": {value}')
        if not spread:
            yield "{" + ", ".join(members) + "}\n"
            continue
        yield "{\n"
        for member in members[:-1]:
            yield f"  {member},\n"
        yield f"  {members[-1]}\n}},\n"


def csv(voice: Voice) -> Iterator[str]:
    """Values between commas, semicolons or tabs, under a line of names."""
    columns = _columns(voice, 2, 8)
    separator = voice.pick([",", ",", ",", ";", "\t", "|"])
    yield separator.join(name for name, _ in columns) + "\n"
    while True:
        values = [_VALUES[kind](voice) for _, kind in columns]
        if voice.chance(0.1):
            values[voice.number(0, len(values) - 1)] = ""
        yield separator.join(f'"{value}"' if separator in value else value
                             for value in values) + "\n"


def table(voice: Voice) -> Iterator[str]:
    """Tables of names and numbers, with bars or with spaces."""
    while True:
        columns = _columns(voice, 2, 6)
        barred = voice.chance(0.5)
        widths = [voice.number(8, 16) for _ in columns]
        if voice.chance(0.5):
            yield f"Table {voice.number(1, 40)}. {RULES['table_title'](voice)}\n"

        def row(cells: list[str]) -> str:
            if barred:
                return "| " + " | ".join(cells) + " |\n"
            return "".join(cell.ljust(width) + " " for cell, width in zip(cells, widths)) + "\n"

        yield row([name for name, _ in columns])
        if barred:
            yield "|" + "---|" * len(columns) + "\n"
        for _ in range(voice.number(3, 16)):
            yield row([_VALUES[kind](voice) for _, kind in columns])
        if voice.chance(0.3):
            yield row(["Total", *(str(voice.number(1, 9999)) for _ in columns[1:])])
        yield "\n"


def log(voice: Voice) -> Iterator[str]:
    """Lines of a log file, whose clock goes forward."""
    message = RULES["log_message"]
    form = voice.number(0, 3)
    second = voice.number(0, 80000)
    date = RULES["isodate"](voice)
    host = RULES["key"](voice)
    while True:
        second += voice.number(0, 60)
        clock = f"{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}"
        level = voice.pick(["INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR"])
        text = message(voice)
        if form == 0:
            yield f"{date}T{clock}.{voice.number(0, 999):03}Z {level} {text}\n"
        elif form == 1:
            yield f"[{clock}] {level.lower()}: {text}\n"
        elif form == 2:
            yield f"{date} {clock} {host}[{voice.number(100, 9999)}]: {text}\n"
        else:
            address = ".".join(str(voice.number(1, 254)) for _ in range(4))
            yield (f'{address} - - [{date}:{clock}] "GET /{host}/{voice.number(1, 999)} HTTP/1.1" '
                   f"{voice.pick([200, 200, 200, 301, 404, 500])} {voice.number(100, 99999)}\n")


def settings(voice: Voice) -> Iterator[str]:
    """Settings of a program in the manner of INI or YAML files."""
    equals = voice.pick([" = ", "=", ": "])
    indented = equals == ": "
    kinds = list(_VALUES)
    while True:
        section = _key(voice)
        yield f"{section}:\n" if indented else f"[{section}]\n"
        for _ in range(voice.number(2, 9)):
            comment = f"  # {RULES['clause'](voice)}" if voice.chance(0.1) else ""
            value = _VALUES[voice.pick(kinds)](voice)
            yield f"{'  ' if indented else ''}{_key(voice)}{equals}{value}{comment}\n"


def outline(voice: Voice) -> Iterator[str]:
    """Headings, lists, check boxes and quotations with the marks of Markdown."""
    heading, item, sentence = RULES["table_title"], RULES["bullet_text"], RULES["minutes"]
    while True:
        yield f"{'#' * voice.number(1, 4)} {heading(voice)}\n\n"
        mark = voice.pick(["-", "-", "*", "+", "#.", "- [ ]", "- [x]", ">", "#)"])
        for count in range(1, voice.number(3, 10)):
            depth = "  " * voice.number(0, 2) if mark in "-*+" else ""
            text = item(voice)
            if voice.chance(0.15):
                text = f"**{text}**" if voice.chance(0.5) else f"`{_key(voice)}`: {text}"
            yield f"{depth}{mark.replace('#', str(count))} {text}\n"
        yield "\n" + sentence(voice) + "\n\n"
        if voice.chance(0.2):
            yield "---\n\n"
