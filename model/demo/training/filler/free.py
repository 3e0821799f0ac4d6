"""A grammar of English sentences at large, of no style: what no list of set phrases gives.

Its phrases nest freely and take their words from every list, so that no two sentences are alike in
more than the small words.
"""

from __future__ import annotations

_WORDS = {
    "verb_": """
absorb accept accompany achieve acquire adapt adopt affect allow alter analyse anticipate approach
assess assume attract balance block bring_about build calculate call_for cause challenge combine
compare complicate concern confirm confuse connect consider constitute contain continue contradict
contribute_to control convert convince correct create criticise deal_with decide declare decorate
define delay demonstrate deny depend_on derive describe deserve destroy determine develop
differ_from direct disturb divide dominate double earn educate eliminate emphasise enable encourage
enjoy ensure establish estimate evaluate exceed exclude expand expect experience exploit express
extend favour finance form generate govern guarantee guide handle identify illustrate imagine imply
improve include increase indicate influence inform inherit insist_on inspire interpret introduce
involve isolate judge justify lack launch limit link maintain manage manufacture match modify
monitor motivate name neglect negotiate observe obtain occupy operate oppose organise outweigh
overcome perform permit persuade possess postpone precede predict prefer preserve prevent process
produce prohibit promote propose protect provide publish purchase question raise reach recall
recommend record reduce refer_to reflect refuse regard regulate reject relate_to release rely_on
remain_behind represent require resemble resist resolve respect restore restrict result_in retain
reveal reverse review satisfy secure select separate serve settle simplify solve specify stabilise
stimulate strengthen substitute succeed suffer_from summarise supply support suppose surround
suspect sustain tackle tend_towards test threaten transform transport treat trigger undermine
undertake unite upset value vary_with verify view weaken welcome widen
""",
    "adj_": """
absolute academic accurate active actual additional adequate administrative agricultural alternative
annual apparent appropriate artificial average basic central chemical civil classical clinical
commercial competitive complex comprehensive conservative considerable consistent constant
contemporary continuous controversial conventional corporate critical crucial cultural current daily
decisive democratic dependent digital direct domestic dominant dramatic dynamic economic educational
effective efficient electric electronic emotional empirical environmental equal equivalent essential
ethical evident excessive exclusive experimental explicit external extreme federal final financial
fiscal formal frequent functional fundamental general genetic global gradual historical human ideal
identical immediate imperial implicit important impossible independent indirect individual
industrial inevitable informal initial inner instant intellectual intense internal international
joint judicial key lasting legal legitimate liberal limited linear literary local logical long-term
main major marginal marine maximum mechanical medical medieval mental military minimum minor mobile
moderate monthly moral multiple municipal mutual national native natural necessary negative net
neutral normal notable nuclear numerous objective obvious occasional ongoing optical optimal oral
original parallel partial particular passive permanent personal physical plausible political popular
positive possible potential practical precise preliminary present previous primary prime principal
prior probable productive professional profound progressive prominent psychological quarterly
radical random rational real realistic recent regional regular related relative relevant reliable
religious representative residential respective revolutionary rural scientific seasonal secondary
sensitive separate significant similar single social sole solar sophisticated specific spiritual
stable standard statistical structural subsequent substantial successful sufficient suitable
superficial superior supreme surrounding symbolic systematic technical temporary theoretical thermal
total traditional typical ultimate underlying unique universal urban urgent valid variable verbal
vertical viable visible visual vital voluntary vulnerable weekly widespread
""",
    "noun_": """
access account action addition alliance alternative amendment ancestor approach area aspect assembly
audience author average axis background barrier battle block branch campaign candidate capacity case
category century channel chapter circle circumstance citizen class coalition coast code collection
commission community company competition component concept condition conference conflict congress
consumer context contrast convention corporation council country county crop crowd culture currency
deal death decade decline democracy demand deposit device dialogue dimension direction disaster
disease dispute district doctrine document drama edition election element emperor empire employer
environment episode era establishment event exception exchange expansion expedition expert export
expression extension extent factor faculty failure family famine feature festival figure finance
firm force formula foundation framework function fund generation government group growth guideline
heritage hierarchy household identity image impact incident industry initiative instance institution
instruction instrument integration investment investor issue item key kingdom landlord landscape
leader legend level link literature machine majority manuscript margin mechanism member migration
minority mission mixture mode monument motion motive movement narrative nation neighbourhood novel
obstacle outcome output panel parliament part participant partner party pattern payment percentage
performance period perspective phase phenomenon phrase piece policy portion portrait position
possibility prediction pressure principle priority procedure process producer profession professor
property proportion province purchase range rate reader realm rebellion recipe reference reform
regime region regulation relation relationship religion representative republic resource revolution
role route sample scale scene scheme scholar section sector segment sentence sequence session set
settlement shift sign situation society soldier source sphere stage standard state status step
storage story strategy stream structure struggle study style subject suburb supply survey symbol
system target technique technology tendency tension term territory text theme title tool topic trade
transition transport treaty trend trial tribe tube type union unit version victim village violence
vote voyage war weapon wing worker
""",
}

WORDS: dict[str, list[str]] = {
    name: [word.replace("_", " ") for word in text.split()] for name, text in _WORDS.items()
}

FREE = r"""
anynoun:
  {noun_}
  {noun_}
  {noun_}
  [{thing}|{idea}|{science}|{job_thing}|{role}]
  [{place}|{food}|{animal}|{nature}|{device}|{compound}]
anyverb:
  {verb_}
  {verb_}
  {do}
anyadj:
  {adj_}
  {adj_}
  {adj}
advb:
  [almost|always|hardly|largely|mainly|merely|mostly|nearly|never|only|partly|often|soon|still|
      usually]
  {adverb}
pp:
  [about|across|after|against|around|at|before|behind|below|beside|between|beyond|by|despite|
      during] {sg}
  [for|from|in|in|in|inside|into|like|near|of|of|of|on|on|outside|over|since|through|throughout]
      {sg}
  [to|towards|under|until|with|with|with|within|without|according to|because of|instead of|in spite
      of] {sg}
  [in|of|from|for|between|among|with|by] {pl}
  in {city}
  [in|since|before|until|around|after] {year}
sg:
  the {anynoun}
  the {anynoun}
  the {anyadj} {anynoun}
  {a anyadj} {anynoun}
  {a anynoun}
  [this|that|each|every|another|any|no|one|its|their|our|his|her|my] {anynoun}
  [this|that|each|every|another|any|no|one|its|their|our|his|her|my] {anyadj} {anynoun}
  the {anynoun} {pp}
  {a anyadj} {anynoun} {pp}
  the {anynoun} [that|which] {anyverb.es} {pl}
  the {anynoun} [that|which] {fullname} {anyverb.ed}
  the {anynoun} of {sg}
  the most {anyadj} {anynoun} {pp}
  the {ordinal} {anynoun}
  {city}'s {anyadj} {anynoun}
  {anyverb.ing} {pl}
  {fullname}
  {anyadj} {idea}
  {country}
  what {pl} {anyverb}
pl:
  {anynoun.s}
  {anyadj} {anynoun.s}
  {anyadj} and {anyadj} {anynoun.s}
  [the|these|those|some|many|few|all|most|both|several|other|certain|our|their|such] {anynoun.s}
  [the|these|those|some|many|few|all|most|both|several|other|certain|our|their|such] {anyadj}
      {anynoun.s}
  {count} {anynoun.s}
  {anynoun.s} {pp}
  {anynoun.s} [that|which|who] {anyverb} {sg}
  {anynoun.s} and {anynoun.s}
  {anynoun.s}, {anynoun.s} and {anyadj} {anynoun.s}
is:
  [is|is|was|was|has been|will be|may be|could be|seems|becomes|remained|had become|must have been]
are:
  [are|are|were|were|have been|will be|may be|could be|seem|became|remain|had been|should be]
modal:
  [can|could|may|might|must|shall|should|will|would|need not|cannot|ought to|did not|does not]
pred:
  {anyverb.es} {sg}
  {anyverb.ed} {sg}
  {anyverb.ed} {pl} {pp}
  {anyverb.es} {pl}
  {modal} {anyverb} {sg}
  {modal} {anyverb} {pl}
  {is} {anyadj}
  {is} {anyverb.en} by {sg}
  {is} {advb} {anyverb.en} {pp}
  {is} {sg}
  {is} [more|less|as] {anyadj} [than|as] {sg}
  has {anyverb.en} {sg} {pp}
  {advb} {anyverb.es} {pl}, {pl} or {pl}
  [began|tried|wanted|is said|seems|has|was meant|failed] to {anyverb} {sg}
  [shows|means|says|suggests|argued|noted|believes] that {part}
preds:
  {anyverb} {sg}
  {anyverb.ed} {pl}
  {modal} {anyverb} {sg}
  {are} {anyadj}
  {are} {anyverb.en} by {pl}
  {are} {advb} {anyverb.en} {pp}
  {are} {pl}
  have {anyverb.en} {sg}
  [began|tried|wanted|are said|seem|have|were meant|failed] to {anyverb} {sg}
part:
  {sg} {pred}
  {sg} {pred}
  {pl} {preds}
  {pl} {preds}
  there {is} {sg}
  it {is} {anyadj} [that|whether|how] {sg} {pred}
  it {is} {anyadj} to {anyverb} {sg}
opening:
  [However|Moreover|In fact|For example|In general|Today|At first|Later|Indeed|Instead|Finally|
      Still|Similarly],
  [As a result|Of course|By contrast|In addition|Meanwhile|At the same time|On the whole|In other
      words],
  {^pp},
  [If|When|While|Although|Because|Since|Unless|Once|Where|Until|As long as|Even though] {part},
  {anyverb.ing.cap} {sg},
  {anyverb.en.cap} by {pl},
  To {anyverb} {sg},
free:
  {^part}.
  {^part}.
  {^part}.
  {opening} {part}.
  {opening} {part}.
  {opening} {part}, [and|but|so|or|yet] {part}.
  {^part}, [and|but|so|or|yet|for] {part}.
  {^part} [because|although|if|when|while|unless|so that|where|as|before|until] {part}.
  {^part}; {part}.
  {^part}: {pl}, {pl} and {pl}.
  {^part} ({sg}).
  {^part} – {sg} – {pp}.
  {^sg}, {sg}, {pred}.
  {^sg}, [which|who] {pred}, {pred}.
  {^sg} {pred}, {anyverb.ing} {pl}.
  {^sg} {pred} and {pred}.
  [Does|Did|Can|Should|Will|Would] {sg} {anyverb} {sg}?
  [How|Why|When|Where] [did|do|can|should] {pl} {anyverb} {sg}?
  What {is} {sg}?
  Which {anynoun} {pred}?
  Who {anyverb.es} {sg}?
  Neither {sg} nor {sg} {pred}.
  Either {sg} or {sg} {pred}.
  Not only [is|was] {sg} {anyadj}, it {pred}.
  The more {anyadj} {sg}, the [less|more] {anyadj} {sg}.
  [Let us|Please|Never|Always|Do not|Try to] {anyverb} {sg}.
  {anyverb.cap} {sg}, [then|and|or] {anyverb} {pl}.
  It {is} {sg} that {pred}.
  What {sg} {anyverb.es} {is} {sg}.
  "{^part}," {say.ed} {fullname}, "[and|but|so] {part}."
  {fullname} [said|wrote|thought|added|knew] that {part}.
  {^sg} {is} {amount} {pp}.
  No {anyadj} {anynoun}, no {anynoun}.
  {^pl}! {^pl}!
  {^sg}.
free_head:
  {^anyadj} {anynoun.s}
  {^anynoun.s} and {anynoun.s}
  The {anynoun} {pp}
  {anyadj.upper} {anynoun.upper}
  {1..30}. {^anyverb.ing} {pl}
  On {anyverb.ing} {anynoun.s}
"""
