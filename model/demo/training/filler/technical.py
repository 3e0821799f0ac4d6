"""Grammars of prose for work: manuals, recipes, abstracts, law, mail, questions and answers."""

from __future__ import annotations

TECHNICAL = r"""
manual:
  [Press|Turn|Hold|Release|Push|Pull|Check|Remove|Open|Close|Clean|Replace] the {device} [until|
      before|after|while] the {device} is {adj}.
  Do not [touch|open|cover|wash|remove|oil] the {device} while the {device} is running.
  To {do} the {device}, [press|turn|slide|loosen] the {device} and the {device} at the same time.
  If the {device} [blinks|flashes|beeps|stops|smells|leaks], [see page {2..180}|check the {device}|
      call {phone}].
  WARNING: {^adj} {device.s} may [explode|break|burn|cause injury].
  NOTE: The {device} is not [included|supplied|covered by the warranty].
  Insert {small} {device.s} of type {initial}{initial}-{10..999} into the {device}.
  The {device} [should be|must be|is] [cleaned|replaced|oiled|checked] every {small} [months|weeks|
      hours].
  Set the {device} to {1..240} V, {1..60} Hz, and wait {small} [seconds|minutes].
  The display shows "E{1..99#2}" when {a device} is [missing|blocked|hot|{adj}].
  Maximum load: {amount}. Weight: {amount}. Power: {10..2400} W.
  Use only {adj} {substance}. Never use {substance} or {substance}.
  The {device} ({1..30}) is connected to the {device} ({1..30}) by {small} screws.
  Keep this {device} away from {substance}, {substance} and children.
manual_head:
  {1..12}. {^do.ing} the {device}
  {1..12}.{1..9} {^device} and {device}
  Troubleshooting
  Before first use
  Fig. {1..60}: {^device}, {device}, {device}
  Part no. {initial}{100..9999}-{10..99}
recipe:
  [Chop|Slice|Peel|Boil|Fry|Roast|Mash|Grate|Wash|Dice|Crush|Toast] the {food.s} [finely|roughly|
      gently|for {2..60} minutes|until golden|with the {food}].
  [Add|Stir in|Mix in|Fold in|Pour in] the {food}, [a pinch of|{2..500} g of|{small} spoons of|half
      the] {food} and the {food}.
  Preheat the oven to {120..250}°C[ (gas mark {1..9})|].
  Bake for {5..120} minutes, [or until|then cover until] the {food} is [golden|brown|soft|crisp].
  [Season|Serve|Garnish|Sprinkle] with {food}, {food} [and|or] {food}.
  Leave to [rest|cool|rise|soak] for {small} hours in {a adj} {place}.
  Meanwhile, melt the {food} in {a adj} {thing} and whisk in {small} {food.s}.
  Serves {2..12}. Preparation: {5..90} minutes.
  My {role} always [used|added|preferred] {food} instead of {food}.
  Keeps for {small} days in the [fridge|cellar|tin].
  {2..900} g {food}
  {2..900} ml {food}, {adj}
  {1..8} [tsp|tbsp|cups|oz] {food}
  {1..8} {adj} {food.s}, [chopped|sliced|peeled|grated|washed]
  a pinch of {food}
recipe_head:
  {^food} {food} with {food.s}
  {fullname}'s {adj} {food} {food}
  Ingredients
  Method
  For the {food}:
abstract:
  We [study|present|propose|report|examine|describe] [the {adj}|a new|a novel|a simple] {science}
      [for|of|in] {science.s}.
  [Here|In this paper|In this work], we [show|argue|find] that the {science} of {science.s}
      [depends on|increases with|is limited by|predicts] the {science}.
  [Using|Based on|By means of] {science} {science.s} (n = {3..900}), {science} was [measured|
      estimated|compared] at {amount}.
  The {science} [increased|decreased|varied] by {1..99}.{0..99#2} ± {0..9}.{0..99#2} (p <
      0.0{1..5}).
  [However|Moreover|Furthermore|In contrast|Surprisingly], {science.s} [showed|had] [no|a
      significant|a weak] effect on {science} \[{1..60}\].
  {surname} et al. ({year}) [suggested|found|reported] that {science.s} {do} {science.s}.
  Our results [suggest|indicate|confirm] that {science} and {science} are [independent|correlated
      (r = 0.{10..99})|{adj}].
  The {science} was sampled at {1..900} [Hz|kHz|K|nm|Pa] for {small} [hours|days|weeks][ in
      {city}| near {city}|].
  Although {science.s} are [well|poorly|rarely] understood, the role of {science} in {science}
      [remains unclear|is known].
  Table {1..9} and Fig. {1..9}{initial} [show|compare] the {science} of all {small} {science.s}.
  Let x be the {science} of {a science}; then x = {1..9}.{1..99}y + {0..9}, provided that y >
      {0..40}.
  [Future work|Further study] should {do} the {science} and its {science}.
  These findings have implications for {school} and {school}.
abstract_head:
  Abstract
  {1..7}. [Introduction|Methods|Results|Discussion|Conclusion|Materials and methods]
  {^science} and {science} in {adj} {science.s}
  Keywords: {science}, {science}, {science}, {school}
legal:
  ({roman}) the {party} [shall|may|shall not|must] {do} the {job_thing} [within {2..90} days|at its
      own expense|in writing|without delay];
  {1..40}.{1..12} Subject to clause {1..40}, the {party} shall [not |]{do} the {job_thing} or the
      {job_thing}.
  [Notwithstanding|Pursuant to|Without prejudice to|In accordance with] section {1..40}({1..9}),
      the {party} is [entitled|liable|obliged] to {do} the {job_thing}.
  "{^job_thing}" means [the|any] {job_thing} [between|of] the {party} and the {party}[, as amended|
      ].
  In the event of {idea} or {idea}, the {party} [may terminate|shall indemnify|shall notify] the
      {party} forthwith.
  The {party} [warrants|acknowledges|represents|agrees] that no {job_thing} has been {do.en}.
  Any {job_thing} [arising|made|given] under this agreement shall be governed by the law of
      {country}.
  The sum of {price} is payable on the {ordinal} day of each {month}, free of {idea}.
  This {job_thing} is made on {date} between {fullname} of {street}, {city} (the "{^party}") and
      {firm}.
  [Provided always that|Save that|Except where] the {party} [has|have not] {do.en} the {job_thing}.
party:
  [tenant|landlord|buyer|seller|licensee|licensor|contractor|client|employer|employee|lessee|
      borrower|lender|supplier]
roman:
  [i|ii|iii|iv|v|vi|vii|viii|ix|x|a|b|c|d|e|f]
legal_head:
  {1..40}. {job_thing.upper}
  SCHEDULE {1..9}
  Article {1..99}: {^idea} and {idea}
  WHEREAS:
faq:
  [Can|May|Should] I {do} my {device} [{when}|without {a device}]? [Yes|No|Sometimes], {clause}.
  Q: How do I {do} the {device}?\nA: [First|Just], {do} the {device}. Then {do} the {job_thing}.
  Q: What does the {job_thing} cost?\nA: {^price} [a month|a year|per {role}|plus tax].
  Q. When is the {place} open?\nA. From {clock} to {clock}, except on {day.s}.
  {1..40}. Is the {device} {adj}?\n    [No.|Yes.|It depends: {clause}.]
  How many {device.s} are [there|needed|allowed]? [Up to|At least|Exactly] {small}.
  Who can {do} the {job_thing}? Any {role} over {16..70} [from|in] {country}.
  Where do I find my {job_thing}? {^where}.
faq_head:
  {^job_thing} and {job_thing}
  Questions about {idea}
  FAQ {1..30}
glossary:
  {object}: {a adj} {thing} [used by|made for|invented by] {role.s}.
  {idea} (n.): {idea} without {idea}; see {idea}.
  {^role} — one who {do.es} {thing.s} and {thing.s}.
  to {do} (v.): to {do} {np} {adverb}. "{^subj} {vp}."
  {adj} (adj.): not {adj}; {adj} or {adj}.
  {^substance}: see {substance}, {substance}.
advert:
  [Try|Discover|Enjoy|Meet|Taste] the [new|{adj}] {device} from {firm}!
  [Only|Now|Just] {price}! [Was {price}.|Save {2..90}%.|While stocks last.|Free delivery.]
  {^food} so {adj} that {clause}.
  Call {phone} or visit us in {street}, {city}.
  {adj.upper}! {adj.upper}! {adj.upper}!
  Say goodbye to {adj} {object.s}. Say hello to {idea}.
  Wanted: {adj} {role} with {small} years' experience, {price} a week. Apply to {firm}.
  {^count} {role.s} can't be wrong.
  You don't need {a object}. You need {idea}.
"""
