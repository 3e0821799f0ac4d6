"""Rules that every style uses: numbers, dates, prices, names, phrases of nouns, clauses."""

from __future__ import annotations

COMMON = r"""
day:
  [Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday]
month:
  [January|February|March|April|May|June|July|August|September|October|November|December]
mon:
  [Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec]
small:
  [two|three|four|five|six|seven|eight|nine|ten|eleven|twelve]
count:
  {small}
  {small}
  [fifteen|twenty|thirty|forty|fifty|sixty|a hundred|two hundred|a dozen|half a dozen|several]
  {2..400}
ordinal:
  [first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|last]
year:
  {1701..2029}
  {1890..2029}
date:
  {1..28} {month}
  {month} {1..28}
  {1..28} {month} {year}
  {month} {1..28}, {year}
  {day} {1..28} {month}
  the {ordinal} of {month}
clock:
  {1..12} o'clock
  {0..23}:{0..59#2}
  {1..12}:{0..59#2} [am|pm]
  half past {small}
  [ten|five|twenty|a quarter] [to|past] {small}
price:
  ${1..900}
  ${1..99}.{0..99#2}
  £{1..900}
  €{1..99}.{0..99#2}
  {3..900} [dollars|pounds|euros|francs|crowns]
  {1..99},{0..999#3} [dollars|pounds|euros|francs]
  {small} [shillings|pounds|dollars|pence]
amount:
  {2..90} [metres|miles|kilometres|feet|yards|tons|kilograms|pounds|litres|acres|hectares|barrels]
  {1..40}.{1..9} [m|km|kg|cm|mm|litres|miles|tonnes]
  {1..90},{0..999#3} [tons|people|litres|copies|square metres|visitors]
  {1..99}%
  {1..99}.{1..9}%
  {1..99} per cent
  {small} [miles|acres|yards|hours|days|weeks|years|months]
distance:
  {2..90} [metres|miles|kilometres|feet|yards]
  {1..40}.{1..9} [m|km|miles|kilometres]
  {small} [miles|leagues|yards]
  [half a mile|a mile or two|a long way]
millions:
  [$|£|€]{1..900} [million|million|billion]
  [$|£|€]{1..99}.{1..9} [million|billion|m|bn]
phone:
  0{100..999} {100..999} {1000..9999}
  +{1..99} {10..99} {100..999} {10..99} {10..99}
  ({200..999}) {100..999}-{1000..9999}
first:
  {man}
  {woman}
fullname:
  {man} {surname}
  {woman} {surname}
  {man} {initial}. {surname}
  {woman} {surname}
  {man} {surname}
titled:
  [Mr|Mrs|Miss|Dr|Professor|Mr.|Mrs.|Dr.|Captain|Inspector|Judge|Sister|Major] {surname}
anyplace:
  {city}
  {city}
  {town}
  {country}
street:
  {2..180} [Station|Church|High|Mill|Park|Market|Victoria|Queen|King|Bridge|School|Chapel] [Street|
      Road|Lane]
  {surname} [Street|Road|Avenue|Square|Lane]
compound:
  {prefix_noun} {suffix_noun}
object:
  {thing}
  {thing}
  {thing}
  {device}
  {compound}
det:
  the
  the
  the
  this
  that
  [my|your|our|their|his|her]
  {surname}'s
one:
  the {object}
  {det} {object}
  {a object}
  {a adj} {object}
  the {adj} {object}
  the {adj} {object}
  {det} {adj}, {adj} {object}
  the {role}'s {object}
  {a object} of {substance}
  the {object} [in|from|near|by|behind|above|under] {loc}
  the {object} that {subj} {do.ed}
  some {substance}
  the {colour} {object}
np:
  {one}
  {one}
  {one}
  {count} {object.s}
  the {object.s}
  {adj} {object.s}
loc:
  the {place}
  the {place}
  the {adj} {place}
  {a adj} {place}
  the {place} [of|near|at] {city}
  {town}
  the {compound}
  the {role}'s {place}
subj:
  {who}
  {who}
  {he_}
  the {role}
  the {adj} {role}
  {a role}
  the {role} [from {city}|with the {adj} {body}|in the {colour} coat]
  the {animal}
  my {role}
  {mr}
  [nobody|everybody|someone|one of them|each of us]
many:
  {who} and {first}
  the {role.s}
  {count} {role.s}
  the {animal.s}
  [we|they|people|most of us|all of them|others]
did:
  {do.ed} {np} [{where}|{when}|{adverb}]
  {do.ed} {np}
  {go.ed} [{where}|{adverb}|and {act.ed}]
  {act.ed} [{where}|{adverb}|and {go.ed}]
  were [very|rather|quite|too|always|never] {mood}
  could not {do} {np}
he_:
  {he}
when:
  [in the morning|at night|at noon|after dinner|before dawn|that evening|the next day|last week|
      long ago]
  on {day} [morning|evening|afternoon|night]
  in {month}
  in {year}
  at {clock}
  on {date}
  [after|for|within|in] {small} [days|weeks|years|months|hours|minutes]
  every [day|morning|week|spring|summer|autumn|winter|year]
  when {clause}
  before {clause}
where:
  [in|near|behind|beside|outside|beyond|towards] {loc}
  at {loc}
  on the [way to|edge of|far side of|road to] {loc}
  under the {nature}
  from {loc} to {loc}
  along the {place}
  among the {nature.s}
vp:
  {do.ed} {np}
  {do.ed} {np}
  {do.ed} {np} {where}
  {do.ed} {np} {adverb}
  {go.ed}
  {go.ed} {where}
  {go.ed} {adverb}
  {act.ed}
  {act.ed} {where}
  {act.ed} and {vp}
  was {mood}
  was [very|rather|quite|too|always|never] {mood}
  had {do.en} {np}
  wanted to {do} {np}
  [could not|did not|would not|must have forgotten to|used to] {do} {np}
  began to {act}
  kept {do.ing} {np}
  had {small} {object.s}
  said that {clause}
clause:
  {subj} {vp}
  {subj} {vp}
  {subj} {vp} {when}
  {many} {did}
  {many} {did}
  the {nature} was [{adj}|{adj}|{colour}|too {adj} for {animal.s}]
  the {object} was [{adj}|{colour}|made of {substance}]
  there was {a object} {where}
  {one} was [lost|found|sold|broken|stolen|mended|painted {colour}|worth {price}|gone|there]
  {one} was [lost|found|sold|broken|stolen|mended|seen] [{where}|{when}]
  {idea} was [everything|{a adj} thing|no use|not enough|stronger than {idea}]
  it was {adj} to {do} {np}
saying:
  {^clause}
  [Well|Oh|No|Yes|Ah|Look|Listen|Perhaps|Of course], {clause}
  I [think|know|am sure|suppose|hope|fear] {clause}
  You [must|should|cannot|will never] {do} {np}
quotable:
  [Do you|Did you|Will you|Can you|Would he|Could they] {do} {np}?
  [Where|When|Why|How] did {subj} {do} {np}?
  [Where is|Who has|Who took|What became of] {np}?
  [Well|Oh|No|Yes|Ah|Look|Listen|Perhaps|Of course|My dear], {clause}.
  {^clause}.
  I [think|know|am sure|suppose|hope|am afraid] {clause}!
  You [must|should|cannot|will never|had better] {do} {np}.
  {^do} {np}!
  It is [only|just|not] {np}.
"""
