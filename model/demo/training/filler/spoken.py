"""Grammars of mail, chats, verse and footers, and of the styles that are held out."""

from __future__ import annotations

TALK = r"""
mail:
  [Thanks|Many thanks|Thank you] for [your mail|the {job_thing}|sending the {job_thing}|the quick
      reply].
  [Please find attached|Attached is|Here is|I have attached] the {job_thing} [for {firm}|of {date}|
      as promised].
  Could you [please |]{do} the {job_thing} [by|before] {day}?
  I [will be|am] [out of office|on leave|in {city}|at the {place}] [until|on|from] {date}.
  The {job_thing} is [late|ready|missing|in the {place}|with {fullname}], [sorry|as discussed|I
      think].
  {^clause}.
  As {fullname} said, {clause}.
  Let me know if {clause}.
  My new number is {phone}.
  The {job_thing} [costs|comes to] {price}, [incl.|excl.|plus] VAT.
  Shall we meet [on {day}|on {date}] at {clock} in [room {1..300}|the {place}|{city}]?
  [Sorry for|Apologies for] the delay, {clause}.
  Did you {do} the {job_thing}? {fullname} [is asking|needs it|called twice].
  Order no. {100000..999999} was {do.en} on {date}.
  [FYI|PS|BTW]: {clause}.
mail_subject:
  {job_thing}
  {^job_thing} [{date}|for {firm}|{year}]
  {^do} the {job_thing}?
  [URGENT|Reminder|Invitation|Question]: {job_thing}
mail_host:
  [mail|office|post|work|home].[com|org|net|co.uk|de|fr]
mail_end:
  [Best|Cheers|Regards|Best regards|Kind regards|Thanks|Many thanks|Yours|See you],
chat_message:
  [ok|lol|yes|no|haha|hmm|sure|nope|what?|really?|brb|same|good morning|hi all|bye|why?|see you|:)|
      :(|xD|thx]
  [ok|well|but|and|so|haha,|hmm|yeah,|nah,] {clause}
  {clause}
  {clause} [lol|haha|:)|...|!!|??|tbh|i think]
  [where|when|why] did {subj} {do} {np}?
  has anyone [seen|got|tried] {np}?
  @{who} [can you|did you|please] {do} {np}[?|]
  {who} [is typing|joined|left the chat|is late|is here]
  i'm [at|near|in] the {place}
  meet at {clock}?
  {price} for {a object}?? no way
  call me: {phone}
  {adj}!!!
  happy birthday {who}!
  {clock} works for me
  my {role} {do.ed} my {object} [again|yesterday|today]
  https://www.{word_}.[com|org|net]/{word_}/{1..9999}
verse:
  the {nature} {act.es} {where}
  the {adj} {nature} and the {adj} {nature}
  O {nature}, O {adj} {nature}
  and [all|none of] the {nature.s} {act} {adverb}
  my {body} is {simile}
  I {do.ed} the {object}, I {do.ed} the {nature}
  [when|where|while] {animal.s} {act} and {nature.s} {go}
  no {nature} {act.es}, no {animal} {go.es}
  {idea} of {nature}, {nature} of {idea}
  who {do.es} the {nature} in {month}?
  {adj}, {adj}, {adj}
  and {idea} {go.es} with {idea}
  [so|then|still|yet] {go}, my {animal}, {go}
  you {do.ed} {np}
verse_title:
  To {a nature}
  The {^nature} and the {^animal}
  {^month} in {city}
  {nature.upper}
  {1..99}
"""

FOOTER = r"""
footer:
  © {year} {firm}. All rights reserved.
  Please consider the {nature} before printing this {job_thing}.
  This page has been left blank.
  [Confidential|DRAFT|COPY|VOID|SAMPLE] - {firm}
  Printed in {country}. {date}
  Click [here|below|OK] to {do} your {job_thing}.
  We use cookies to {do} your {job_thing}. [Accept|Decline|Settings]
  Tel. {phone} · {street} · {city}
  This {job_thing} is intended only for {official}. If you are not {a role}, {do} it.
"""

HELD_OUT = r"""
stage:
  Enter {whole} and {a role}, {act.ing}.
  Exit {whole}.
  Exeunt all but the {role}.
  Takes {a object} from the {object}.
  Aside.
  {^a nature} {act.es} {where}.
  The {object} falls.
stage_manner:
  {adverb}
  aside
  {act.ing}
  taking {a object} from the {object}
stage_speech:
  {quotable}
  {quotable} {quotable}
  {^idea}! {^idea}! What is {idea} to {a role}?
  Go, {do} {np}, and {go}!
  I {do}, you {do}, we all {do} {np}.
  My lord, {clause}.
  {^who}! {^who}, where [are you|is the {object}|have you been]?
  Enough. {^clause}.
  Have you no {idea}? Then {do} the {object}, and {act}.
stage_setting:
  {^a place} in {city}. {^nature}. {^a object} on the left, {a adj} {thing} on the right.
  The same, {small} hours later. {^a role} {act.es}.
  Before the {place}. {^np}; {np}; {a adj} {role}.
page_text:
  {^job_thing}
  {^clause}.
  {price}
  {date}
  {^adj} {device.s}
  Home &gt; {^food.s} &gt; {^food}
  {fullname}
  {1..900}
  {^do} the {job_thing}
  {^city} &amp; {city}
ship_entry:
  Wind [N|NE|E|SE|S|SW|W|NW], force {1..11}, backing [N|E|S|W].
  [Swell|Sea] {adj}, visibility {distance}.
  Course {1..359} degrees, {1..19}.{0..9} knots.
  Sighted {a animal}, {distance} off the port bow.
  Pumped {2..900} gallons from the hold. Bilges {adj}.
  {^whole}, {role}, put on half rations.
  Issued {food} and {food} to all hands.
  Spoke the {nation} barque out of {city}, {count} days from {city} with {food} and {substance}.
  Repaired the {object}. Lost {a object} overboard.
  Barometer {27..31}.{0..99#2}, [falling|rising|steady].
  {^clause}.
"""
