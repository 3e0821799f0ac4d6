"""Grammars of public prose: news, minutes, mail, reviews, weather, sport, reference works."""

from __future__ import annotations

PUBLIC = r"""
official:
  [the|a|another] [minister|spokesman|spokeswoman|chairman|director|union|committee|police officer]
  the [government|city council|company|ministry|police|bank|court|board|opposition|central bank]
  [Mr|Ms|Dr] {surname}
  {fullname}, {2..95},
  {fullname}, the {role},
firm:
  {surname} & {surname}
  {surname} and Sons
  {surname} [Group|Holdings|Ltd|Inc|plc|Industries|Foods|Motors|Airlines|Bank]
  the [Bank|Port|University|City] of {city}
change:
  [rose|fell|grew|shrank|climbed|dropped|slipped] [by {amount}|to {price}|{1..40}.{0..9} per cent|
      sharply]
news:
  {^city} — {^official} [said|announced|denied|confirmed] on {day} that {clause}.
  {^city}, {date} ({surname} News) - {^firm} [said|announced] it would {do} {count} {job_thing.s}.
  {^official} [told reporters|told the court|said in a statement] that {clause}.
  "{saying}," {official} [said|told the newspaper|added].
  "{saying}," said {fullname}, {role} at {firm}.
  Shares in {firm} {change} after {clause}.
  The price of {substance} {change} in {month}, while {food} {change}.
  At least {count} [people|passengers|workers|{role.s}] were [injured|rescued|arrested|evacuated]
      {where}.
  The [fire|accident|strike|storm|protest|flood] [began|was reported] at {clock} {where}, and
      {clause}.
  {^firm} [will open|plans|has closed|is to sell] {a place} in {city} [in|by] {year}, at a cost of
      {millions}.
  [Voters|Farmers|Students|Teachers|Commuters|Shoppers] in {country} [face|expect|fear|want] [more|
      fewer] {job_thing.s}.
  The {job_thing}, [first|last] [published|approved|discussed] in {year}, [covers|names|costs]
      {amount}.
  {^nation} and {nation} [ministers|officials|experts] met in {city} on {day} to discuss {idea} and
      {idea}.
  A spokesman for {firm} declined to comment.
  The trial continues.
  According to [a report|figures|a survey] by {firm}, {amount} of {role.s} {do} {a device} {when}.
  Critics [say|argue|warn] that the {job_thing} is "{adj}" and "{adj}".
headline:
  {^role.title} {do.es} {^adj.title} {^object.title}
  {^city}: {^count} {^role.s} {do} {^place}
  {nation} {^idea} {change}
  {role.upper} {do.upper} {object.upper}
  Page {2..40}: {^idea} and {idea}
minutes:
  {^mr} reported that {clause}.
  {^mr} asked whether the {job_thing} had been {do.en}. {^mr} replied that {clause}.
  It was [agreed|resolved|decided] to {do} the {job_thing} by {date}.
  ACTION: {whole} to {do} the {job_thing}.
  The {job_thing} of the last meeting was [approved|read|taken as read].
  The {role} presented the {job_thing}. {^count} members voted for, {0..9} against, {0..4}
      abstained.
  Costs of {price} were [approved|questioned|deferred] under item {1..12}.{1..9}.
  The {job_thing} for {year} [stands at|exceeds] {price}, {amount} more than in {year}.
  {^mr} thanked the {role} for the {job_thing} and the {job_thing}.
  Concerns were raised about the {job_thing} in {street}. {^clause}.
  No further business. The meeting closed at {clock}.
  Next meeting: {date}, {clock}, [Room|Hall] {1..40}.
  Matters arising: {job_thing}, {job_thing} (see annex {initial}), {idea}.
minutes_head:
  {1..9}. {^job_thing} and {job_thing}
  {1..9}.{1..9} {^job_thing}
  Present: {whole} (chair), {whole}, {fullname}, {fullname}
  Apologies: {fullname}, {fullname}
  MINUTES of the meeting of {date}
  Item {1..20}
review:
  {1..5}/5
  [★★★★★|★★★★☆|★★★☆☆|★★☆☆☆|★☆☆☆☆] {^adj} {device}
  I bought this {device} for my {role} {when} and it [broke|works well|stopped working|leaks|is
      {adj}].
  [Great|Terrible|Decent|Not bad|Excellent|Awful|OK] {device}[!|.|...|!!!] Would [buy|not buy]
      again.
  The {device} is {adj}, but the {device} is [too|far too|a bit] {adj}.
  Arrived {small} days late and the {device} was {adj}. [Sent it back|Refunded|Asked for my money
      back].
  For {price} you cannot expect {idea}.
  pros: {adj}, {adj}. cons: {adj}, {price} is too much
  My {role} loves it. My {animal} hates it.
  Very {adj} film about {a role} who {do.es} {np}; {a adj} ending.
  The {food} was {adj} and the waiter {adj}. We paid {price} for {small}.
  [Read|Finished] it in {small} days. The {role} who {do.es} {a object} is the best part of the
      book.
  Bought {small}, returned {small}. {^count} people found this helpful.
  Does what it says. {^do.es} {adverb}, {do.es} {adverb}.
  DO NOT BUY!!! {^clause}!!
  Update after {small} months: the {device} [still works|is dead|makes {a adj} noise].
review_head:
  "{^adj} {device}" - {fullname}, {date}
  {first}{2..99} wrote on {date}:
  Verified purchase, {city}
  Rating: {1..9}.{0..9}
weather:
  {^anyplace}: {sky}, {0..38} degrees, wind [north|south|east|west]-[east|west] {2..90} km/h.
  {^day}: {sky} in the [north|south|east|west], {sky} elsewhere.
  [Tonight|Tomorrow|This evening|In the morning|Later] {sky}, with [highs|lows] of {0..35}°C.
  Rain: {0..60} mm. Humidity: {20..99}%. Pressure: {970..1045} hPa, [falling|rising|steady].
  Sunrise {5..8}:{0..59#2}, sunset {16..21}:{0..59#2}.
  A [warning|yellow warning|flood alert] is in force for {city} and {city} until {clock} on {day}.
  A [low|high|front|ridge] over {country} brings {sky} to {country}.
  Roads near {city} may be {adj}; drivers should {do} {a object}.
  Outlook for {day} and {day}: {sky}, becoming {adj}.
  Temperatures [rose|fell|climbed|dropped] to {0..39} degrees in {country}, the [warmest|coldest|
      wettest|driest] {month} since {year}.
sky:
  [rain|snow|fog|hail|sleet|sunny|cloudy|overcast|dry|clear|mild|cold and bright|very warm]
  [light|heavy|patchy|scattered|frequent] [rain|showers|snow|drizzle|thunderstorms|fog|cloud]
  [mostly|partly|increasingly|rather] [cloudy|sunny|dry|windy|cold]
sport:
  {surname} {shoots} and [scores|misses|hits the post|wins a corner|falls over]!
  {1..90}' - {surname} ({city}) {shoots}.
  {city} {0..7}, {city} {0..7}. The {sportword} was {adj}.
  {surname} passes to {surname}, back to {surname}, {surname} again, and [it's a goal|out|saved|
      offside]!
  What {a adj} {sportword} from {surname}, the {nation} {sportword}!
  The {sportword} goes to {city}, who lead by {small} [goals|points|games|runs] with {small}
      minutes left.
  {surname} won the {ordinal} set {0..7}-{0..7}, {0..7}-{0..7}, {surname} said {he} was {adj}.
  It ends {0..5}-{0..5} [here in|at|in rainy|away to] {city}, in front of {1..90},{0..999#3}
      [people|spectators|fans].
  {surname} ({surname}, {1..90}) [on|off] for {surname}. Yellow card: {surname}.
  {^ordinal} place for {fullname} of {country} in {1..59}.{0..99#2} seconds.
  The {sportword} cost {city} {millions}, and {he} has {do.en} {small} {sportword.s} in {small}
      matches.
  {surname} is [out|injured|suspended|back] for {small} weeks, says {sportword} {fullname}.
  OH, what a [miss|save|goal|run|catch]! {surname} cannot believe it.
  [Rain|Bad light|A streaker|{^a animal}] stopped play at {clock}.
shoots:
  [shoots|heads|volleys|crosses|dribbles|runs|serves|swings|sprints]
article:
  {^city} [is|was] [a|the {ordinal} largest] city in {country}, with a population of
      {1..9},{0..999#3},{0..999#3}.
  {fullname} ({1..28} {month} {year} – {year}) was {a nation} {role} and {role}.
  The {animal} is {a adj} [mammal|bird|insect|fish|reptile] [found in|native to|common in]
      {country}.
  The {adj} {animal} ([genus|family|species] unknown) feeds on {food.s}, {animal.s} and {substance}.
  {^substance} is used in the [making|production|repair] of {object.s} and {object.s}.
  The {river} is {distance} long and flows [through|past] {city} and {city}.
  {^school} is the study of {idea}, {idea} and {science.s}.\[{1..40}\]
  The {place} was built in {year} by {fullname}, rebuilt in {year}, and [closed|sold|damaged] in
      {year}.
  In {year} the {nation} {role} {fullname} {do.ed} the {ordinal} {device}.
  It is [often|sometimes] confused with the {object}, from which it differs in its {adj} {device}.
  {country} [exports|imports] {food.s}, {substance} and {device.s}; its largest port is {city}.
  See also: {^school}; {^idea}; {^substance}; List of {place.s} in {country}.
  The treaty of {year} gave {city} to {country}, which {do.ed} it until {year}.
  {^he} studied {school} at the University of {city}, where {he} {do.ed} {fullname}.
  The word "{object}" comes from {a nation} word for {a adj} {thing}.
  Its {device} weighs {2..900} kg, and its {device} is {distance} [long|wide|high].
article_head:
  == {^idea} ==
  {^school}
  {^animal} ({^adj})
  History of {country}
  {city}, {country}
"""
