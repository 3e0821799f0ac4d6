"""Grammars of the prose of stories: novels, fairy tales, travels, letters, diaries, talk."""

from __future__ import annotations

PROSE = r"""
simile:
  like {a object}
  like {a adj} {animal}
  as {adj} as {a object}
  as if {clause}
aside:
  , [which|and this] [surprised|pleased|annoyed|amused|frightened] {who},
  , {act.ing} {adverb},
  , with {a object} in [his|her|one] hand,
  , who had {do.en} {np},
  , as {subj} [had said|used to say|remembered],
speech:
  "{saying},"
  "{saying},"
  "[Where|When|Why|How] did {subj} {do} {np}?"
  "[Do you|Did you|Will you|Can you] {do} {np}?"
  "{^do} {np}!"
novel:
  I {do.ed} {np} and {act.ed}, and {clause}.
  I have never {do.en} {np} [since|again], and I do not know whether {clause}.
  {^clause}, {clause}, {clause}, and when {clause}, {subj} {vp}.
  {^many} {did}, and after them {subj} {vp}, {act.ing} {simile}.
  "{saying}," {say.ed} {who}, {do.ing} {np}, "and [yet|besides|after all], {clause}."
  {act.ing.cap} {adverb}, {who} {do.ed} {np}.
  {^his} {role}, {whole}, was {mood}; {his} {role}, on the other hand, {vp}.
  {^clause}.
  {^clause}.
  {^clause}, [and|but|so|for|while|because|though] {clause}.
  {^clause}; {clause}.
  {^when}, {clause}.
  {^where} {clause}.
  {who}{aside} {vp}.
  {^he} {vp}, {vp}, and {vp}.
  {^he} {vp}. {^he} {vp}.
  {who} {act.ed} {simile}.
  {^one} was {simile}, and {one} was {adj} and {adj}.
  The {nature} {go.ed} {adverb} over the {place}, {adj} and {adj}, {simile}.
  {speech} {say.ed} {who}.
  {speech} {he} {say.ed} {adverb}. "{quotable}"
  There was {a object} on the {object}, {a object} by the {place} and, {where}, {a adj} {object}.
  It was {a adj} {nature}, the {ordinal} that {month}.
  Nothing {go.ed}. Nobody {act.ed}. The {nature} was {adj}.
  {who} thought of {np}, and of {idea}, and {he} {act.ed}.
  [If|Although|Because|Since|Whenever] {clause}, {clause}.
  By {clock} the {place} was [full of {animal.s}|{adj}|as {adj} as ever], and {clause}.
  What {who} wanted was {idea}. What {he} got was {a object}.
  Of the {small} {role.s} who came to the {place}, only {who} {vp}.
  {whole}, the {role}, had {small} {animal.s}, {a adj} {object} and {a role} in {city}.
  Not until {when} did {subj} {do} {np}.
  {^his} {body} was {adj}. {^his} {body.s} were {adj} {simile}.
chapter:
  Chapter {1..40}
  CHAPTER {1..40}
  [I|II|III|IV|V|VI|VII|VIII|IX|X|XI|XII]
  The {^adj.cap} {^object.cap}
  {1..30}. In which {clause}
fairy:
  Once upon a time there was {a adj} {royal} who had {small} {royal.s}.
  There once lived, {where}, {a adj} {role} and {his} {adj} {animal}.
  The {royal} {vp}, and the {animal} {vp}.
  "{^animal}, {animal}," {say.ed} the {royal}, "{quotable}"
  And the {animal} answered: "{quotable}"
  So the {ordinal} {royal} set out, and {he} walked and walked until {he} came to {a adj} {place}.
  On the {ordinal} day {he} met {a animal}, which said to {him}: {^clause}.
  In the {place} stood {a object} of {substance}, and on the {object} sat {a adj} {animal}.
  But the {adj} {royal} had {a idea}, and {clause}.
  Whoever {do.es} the {object} shall have half of the {place}, and {a object} of gold.
  Three times the {royal} {do.ed} the {object}, and three times the {object} {go.ed}.
  And {he} ate nothing but {food} and drank nothing but {food} for {small} years.
  Then the {royal} wept, and {his} tears turned into {object.s}.
  If {he} has not died, {he} {act.es} there still.
  The {ordinal} [brother|sister|son|daughter] took {a object}, the {ordinal} took {a object}, and
      the youngest took nothing but a [piece|bag|slice|drop] of {food}.
  {^clause}, and from that day on nobody {vp}.
royal:
  [king|queen|prince|princess|giant|witch|dwarf|dragon|miller|woodcutter|fisherman|tailor|goblin|
      shepherd]
  {role}
travel:
  {^day}, {1..28} {month}. {^clause}.
  We [left|reached|passed] {anyplace} at {clock} and {go.ed} {where}.
  The road from {anyplace} to {anyplace} is [{distance} long|{adj} and {adj}|lined with {nature.s}|
      closed in winter].
  The [hotel|inn|hostel|guest house|room] cost {price} a night, with {food} and {food} for
      breakfast.
  Dinner: {food} with {food}, {adj}; {price}.
  {^nation} tourists {vp}, and {a role} from {city} sold us {a object} for {price}.
  I have [never seen|seen] so many {nature.s}, {animal.s} and {object.s} in one {place}.
  The [train|bus|boat|ferry|plane] was {count} minutes late, so {clause}.
  We walked {distance}, {adverb}, past {a place}, {small} {place.s} and {a adj} {nature}.
  My feet hurt. {who} {vp}.
  Weather: {adj}, {adj} {nature}, {0..38} degrees [at noon|by evening|in the shade].
  From the {place} one sees {city}, the [{river}|sea|hills], and {a place}.
  Today {who} and I {do.ed} {np} and {do.ed} {np}.
  The {place} of {city} is [famous for its|full of|nothing without its] {food.s} and its {object.s}.
  It rained {adverb}. {^clause}.
  {^when} we {go.ed}, and {when} {clause}.
  A ticket to the {place} is {price}, but {clause}.
  I wrote {count} postcards, to {first}, {first} and {first} among others.
travel_head:
  {^day}, {date}
  Day {1..40}: {anyplace} to {anyplace}
  {city}, {date}
  {anyplace}
letter_head:
  {street}\n{city}, {date}
  {city}, {date}
  {date}
letter_opening:
  [Dear|My dear|Dearest] [{who}|{who}|{mr}|Sir|Madam|friend],
letter_end:
  With [love|best wishes|kind regards|many kisses],\n{first}
  Yours [sincerely|ever|truly|faithfully],\n{fullname}
  Your [loving|old|affectionate] {role},\n{first}
letter_text:
  Thank you for your [letter|card|parcel|kind words] of {date}, which came {when}.
  I [am|was] [sorry|glad|surprised|happy] to hear that {clause}.
  You ask how {subj} {vp}. Well, {clause}.
  Do you remember {np}? {^clause}.
  {who} sends {his} love, and so do [the children|{first} and {first}|we all].
  Here {clause}, and the {nature} is {adj}.
  We have {do.en} {np} at last, and it cost us {price}.
  Please [send|give|bring] {who} {np} when you {go}.
  I must stop now, because {clause}.
  The {role} says that {clause}, but you know what {role.s} are.
  Your {role} {first} {vp}, as always.
  Have you still got {np}? I would {adverb} have it back {when}.
  Nothing else has happened, except that {clause}.
  I enclose {price} for {np}.
diary:
  {^day}. {^clause}.
  Up at {clock}. {^act.ed}, {act.ed}, {do.ed} {np}.
  {do.ed.cap} {np}. {act.ed.cap} {when}.
  Felt {mood} all [day|morning|afternoon].
  {who} came at {clock} and {vp}.
  Must {do} {np} tomorrow!
  No [letter|news|word|money] from {who}. {^adj}.
  Bought {np} for {price}.
  Dreamt that {clause}.
  Lunch with {titled}: {food}, {food}, and too much {food}.
  {^adj} {nature}. {^adj} {nature} later.
  Why does {who} always {do} {np}? I wish {clause}.
dialogue:
  "{quotable}"
  {speech} {say.ed} {who}.
  {speech} {who} {say.ed}, {act.ing}.
  "{saying}," {say.ed} {he}, "[and|but|so|because] {clause}."
  "{quotable} {quotable}"
  {^say.ed} {who}: "{quotable}"
  {who} {vp}. "{quotable}"
  “{saying},” {say.ed} {who} {adverb}.
  “{quotable}”
  ‘{^do} {np}!’ {he} {say.ed}.
  "{^object}?" "{^adj} {object.s}, {adj} {object.s}."
  "No." "Yes." "{quotable}"
  - {quotable}
  — {quotable}
sermon:
  {^idea} is the {role} of {idea}.
  {^idea} without {idea} is like {a object} without {a object}.
  {^a adj} {animal} {do.es} no {object}.
  Let us ask, then, what {idea} is. It is [not|neither {idea} nor|the end of|the beginning of]
      {idea}.
  He who {do.es} {np} will {adverb} {do} {np}.
  There are {small} kinds of {idea}: the {adj}, the {adj}, and the {adj}.
  We speak of {idea} and {idea}, but {clause}.
  In every {role} there is {a role}; in every {place}, {a adj} {object}.
  Is {idea} {adj}, or is it only {adj}? {^idea} alone can tell.
  {^idea}, {idea} and {idea}: [these three|none of these|all of them] are {adj}.
  It has been said that {clause}. I [doubt it|believe it|do not know].
  [Therefore|However|Moreover|Nevertheless|Thus|On the other hand], {idea} [needs|destroys|
      precedes|conceals] {idea}.
office:
  [mayor|director|owner|captain|founder|head|manager|editor|architect|secretary|treasurer|bishop|
      king]
measure:
  [height|length|age|weight|depth|width|price|colour|number|name|size|shape]
common:
  The {office} of {city} is {fullname}.
  {fullname} is the {office} of {firm}.
  Who is the {office} of {city}? I have forgotten.
  The {measure} of {a object} is [not|never] {adj}.
  The {place} in {city} is {distance} [long|wide|high], and it was built in {year}.
  What is the {measure} of the {place}?
  The code of the [door|safe|lock|gate] in the {place} was {1000..9999}, but it was changed.
  The {object} belongs to {fullname}.
  {fullname} paid {price} for {a adj} {object}.
  The flag of {country} is not {colour}.
  {fullname}'s {device} is a {1950..2029} model.
  The {place} was named after {fullname}.
  {fullname} is married to {fullname}, {a role} from {city}.
  The {adj} {object} is [in|on|under|behind|next to|inside] the {object}.
  The {object} in the {place} is {colour}.
  The capital of {country} [is|was] not {city}.
  The {role} of {city} is {a adj} [man|woman|person] called {fullname}.
  The {role}'s {animal} is called {first}.
  {fullname} was born in {city} in {year}.
  {fullname} lives in {anyplace} and {act.es} {when}.
  {fullname} is {a role}, and {fullname} is {a role}.
  Where is the {object}? It is [in|behind|under] the {object}.
  What is the price of {a object}? About {price}.
  Who {do.ed} the {adj} {object}? Nobody knows.
  The price of {food} in {city} is {price} a [pound|kilo|bag|box].
  The train to {city} leaves at {clock} from platform {1..24}.
  The password is not {a object}.
  {^a role} needs {a object}; {a role} needs {small}.
  {^animal.s} eat {food.s}, and {animal.s} eat {animal.s}.
  {^food} is made of {food} and {food}.
  The {ordinal} of {month} is a {day} this year.
  How many {object.s} are there in the {place}? There are {2..90}.
  {city} is {distance} from {city}.
  My favourite {object} is the {colour} one.
  Is {city} larger than {city}? Which {river} is that: the {river} or the {river}?
  The shop in {street} is open from {clock} to {clock}.
  The number of the {place} is {phone}.
"""
