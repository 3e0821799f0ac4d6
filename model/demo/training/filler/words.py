"""Nouns, verbs and adjectives for the filler text. An underscore stands for a space in a phrase."""

from __future__ import annotations

_LISTS = {
    "thing": """
anchor apron arch armchair axe bag ball banner barrel basin basket bath bead bed bell belt bench
bicycle blanket blind board boat bolt book boot bottle bow bowl box bracelet brass_lamp brick bridle
broom brush bucket buckle bundle button cabinet cable cage candle cane canoe canvas cap card carpet
carriage cart case cask chain chair chalk chest chimney cigar clock cloth coat coffin coin collar
comb compass copper_kettle cord cork cot couch crate cradle cup cupboard curtain cushion desk diary
dish door drawer dress drum dustbin easel engine envelope fan feather fence fiddle file flag flask
flute fork frame funnel gate glass glove goblet gown grindstone guitar hammer hammock handkerchief
handle harness harp hat hatchet hinge hook horn hose hourglass iron jacket jar jug kettle key kite
knife ladder lamp lantern latch ledger letter lever lid lock locket loom magnet mallet map mask mast
mat mattress medal mirror mitten mop mug nail necklace needle net newspaper notebook oar organ oven
padlock pail paintbrush pan parasol parcel pen pencil pendulum photograph piano picture pillow pin
pipe pistol pitcher plank plate plough pocket_watch poker pot pram pulley pump purse quilt raft rail
rake razor ribbon rifle ring rocking_chair rope rucksack rug ruler sack saddle sail saucepan saw
scarf screw sewing_machine shawl sheet shelf shirt shoe shovel shutter sickle sieve signpost sink
skirt sledge slipper soap sofa spade spanner spear spoon stamp statue stick stocking stone stool
stove strap string stump suitcase sundial sword table tablecloth tap tapestry teapot telephone
telescope tent thimble ticket tin tool tow_rope towel toy train tray tripod trombone trumpet trunk
tub typewriter umbrella uniform urn vase veil violin waistcoat wallet walking_stick wardrobe washtub
watch watering_can wedge wheel wheelbarrow whip whistle wire wreath yoke
""",
    "animal": """
ant badger bat bear beaver bee beetle blackbird bull butterfly calf camel canary carp cat
caterpillar chicken cod cow crab crane cricket crow cuckoo deer dog donkey dove dragonfly duck eagle
eel elephant falcon ferret finch fly fox frog goat goose gull hare hawk hedgehog hen heron horse
jackdaw kitten lamb lark lion lizard lobster magpie mare mole monkey moth mouse mule nightingale
otter owl ox parrot partridge peacock pheasant pig pigeon pike pony puppy quail rabbit rat raven
robin salmon seal sheep skylark snail snake sparrow spider squirrel stag starling stork swallow swan
thrush tiger toad tortoise trout turkey turtle wasp weasel whale wolf woodpecker worm wren
""",
    "role": """
accountant actor apprentice architect artist aunt baker banker barber beekeeper beggar blacksmith
boatman bookseller bricklayer brother builder butcher butler captain caretaker carpenter cashier
child clerk coachman cobbler collector colonel conductor cook cousin customer dancer daughter dealer
dentist detective doctor dressmaker driver editor electrician engineer explorer farmer father
ferryman fiddler fisherman foreman gamekeeper gardener general girl glazier goldsmith grandfather
grandmother grocer guard guest guide hatter hunter husband inspector innkeeper janitor jeweller
journalist judge king lawyer lecturer librarian lodger magistrate maid manager mason mechanic
merchant messenger midwife miller milkman miner minister musician neighbour nephew niece nobleman
notary nun nurse officer old_man old_woman organist painter passenger peasant photographer pilot
plumber poet policeman porter postman potter priest prince princess printer prisoner professor pupil
queen referee sailor salesman schoolboy sculptor secretary sergeant servant shepherd shoemaker
shopkeeper singer sister smith soldier son stationmaster stranger student surgeon surveyor tailor
teacher tenant thief tourist traveller uncle undertaker visitor waiter watchmaker watchman weaver
widow wife witness workman writer
""",
    "place": """
abbey airport alley attic avenue bakery balcony bank barn barracks bathroom bay beach bedroom
boathouse bookshop border bridge cabin cafe camp canal cathedral cave cellar cemetery chapel church
cinema cliff college corridor cottage courtyard crossroads customs_house dairy dam desert
dining_room ditch dock embankment estate factory farm ferry field forest forge fountain gallery
garage garden gatehouse graveyard greenhouse grove gymnasium hall harbour hayloft headland hedge
hill hospital hotel house hut inn island jetty junction kitchen laboratory lake landing lane laundry
library lighthouse loft lookout marsh market market_square meadow mill mine monastery moor mountain
museum observatory office orchard palace park parlour passage pasture path pavement pier plantation
platform playground pond port post_office prison quarry quay railway_station ravine reading_room
reservoir restaurant ridge river riverbank road roof ruin school shed shipyard shop shore slope
square stable staircase station stockroom street studio summit swamp tavern temple terrace theatre
tower town_hall tunnel university valley veranda village viaduct vineyard waiting_room wall
warehouse waterfall well wharf windmill wood workshop yard
""",
    "food": """
apple almond apricot asparagus bacon banana barley bean beef beer beetroot biscuit blackberry brandy
bread broth butter cabbage cake carrot cauliflower celery cheese cherry chestnut chicken chocolate
cider cinnamon clove cocoa coconut coffee cream cucumber currant custard date dumpling egg fig fish
flour garlic ginger gooseberry grape gravy ham hazelnut honey jam juice kale lamb leek lemon lentil
lettuce lime marmalade melon milk mint mushroom mustard nutmeg oat oatmeal oil olive onion orange
oyster pancake parsley parsnip pasta pastry pea peach pear pepper pickle pie plum pork porridge
potato prune pudding pumpkin radish raisin raspberry rhubarb rice roll rosemary saffron sage salad
salt sauce sausage shallot soup spinach stew strawberry sugar syrup tart tea thyme toast tomato
treacle trifle turnip vanilla veal vinegar walnut wheat wine yeast yoghurt
""",
    "substance": """
air aluminium ash brass bronze butter cement chalk charcoal clay coal concrete copper cork cotton
dirt dust flour fog gas glass glue gold granite grass gravel grease hay ice ink iron ivory lace lead
leather lime linen marble mercury mist moss mud oil paint paper peat plaster plastic porcelain rain
resin rubber rust salt sand silk silver slate smoke snow soap soil steam steel stone straw sugar tar
timber tin tobacco velvet water wax wire wood wool zinc
""",
    "idea": """
ability absence accident account accusation advantage advice affair affection age agreement aim
ambition anger answer anxiety apology argument arrangement art attempt attention authority balance
bargain beauty beginning behaviour belief benefit blame boredom business calm care career cause
caution chance change character charity choice claim comfort complaint concern conduct confidence
confusion conscience consequence conversation courage courtesy craft crime criticism curiosity
custom danger debt decision delay delight demand desire despair detail difficulty dignity
disappointment discipline discovery disgrace distance doubt dream duty ease education effort
embarrassment emotion end enemy energy envy error evidence example excuse experience explanation
fact failure faith fame fashion fate fault favour fear feeling fortune freedom friendship future
generosity gossip gratitude grief guilt habit happiness harm haste hatred health history honesty
honour hope humour hunger idea ignorance illness imagination importance impression improvement
income influence injury innocence insult intention interest invitation jealousy joke journey joy
judgement justice kindness knowledge labour language laughter law lesson liberty lie life loneliness
loss love loyalty luck madness manner marriage matter meaning memory mercy message method mind
misfortune mistake mood moment mystery need news noise object obligation occasion offence offer
opinion opportunity order origin pain passion past patience peace permission pity plan pleasure
point poverty power practice praise prayer preference pride principle privilege problem profit
progress promise proof prosperity protest punishment purpose quality quarrel question reason
recovery regret relief religion remedy reply reputation request resistance respect responsibility
rest result revenge reward risk rule rumour sadness safety scandal secret sense shame silence skill
solution sorrow strength struggle success suffering surprise suspicion sympathy talent task taste
temper temptation terror theory thought threat time tradition trouble trust truth uncertainty value
victory view virtue visit voice wealth weakness welcome will wisdom wish wonder work worry youth
""",
    "nature": """
acorn bank birch blossom bough boulder branch breeze brook bush clearing cloud clover cobweb creek
daisy dandelion dawn dew dusk elm evening fern flame flood flower frost gale grass gust hailstorm
hawthorn heath hedge hollow horizon ivy lake leaf lightning lily meadow mist moon moonlight morning
nettle night oak petal pine pool poplar puddle rain rainbow reed root rose sea seed shadow sky snow
spring star storm stream summer sun sunlight sunrise sunset thicket thistle thunder tide tree violet
wave weather willow wind winter
""",
    "adj": """
abandoned ancient anxious awkward bare battered beautiful bent bitter black blank bleak blue bold
brave brief bright brittle broad broken brown busy calm careful careless cheap cheerful clean clear
clever clumsy coarse cold common cool costly cracked crooked cruel curious curved damaged damp dark
dead deep delicate dim dirty distant double dry dull dusty eager early elegant empty enormous even
expensive faded faint fair faithful false familiar famous fancy fat feeble fierce filthy fine firm
flat foolish foreign forgotten fragile free fresh friendly full funny gentle genuine glad gloomy
golden good graceful grand grave great green grey hard harmless harsh heavy helpless hidden high
hollow homemade honest hot huge humble hungry idle immense innocent invisible jealous jolly keen
kind large late lazy lean light little lively locked lonely long loose loud lovely low loyal lucky
mad magnificent mean merry messy mild modern modest muddy naked narrow nasty neat new nervous nice
noble noisy odd official old open orange ordinary painted pale patient peaceful pink plain pleasant
polished polite poor precious pretty private proper proud public pure purple quaint queer quick
quiet rare raw ready red remote rich ripe rotten rough round royal rude ruined rusty sacred sad safe
scarce secret serious severe shabby shallow sharp shiny short shy sick silent silly simple sleepy
slender slight slim slow small smart smooth soft solemn solid sour spare splendid square stale
steady steep stiff still stout straight strange strict strong stubborn stupid sturdy sudden sweet
swift tall tame tattered tender terrible thick thin thirsty tidy tight tiny tired tough troubled
ugly unhappy unknown unlucky untidy unusual upright useful useless usual vague vast velvet violent
wandering warm weak wealthy weary weathered well-known well-worn wet white whole wicked wide wild
wise withered wonderful wooden worthless wretched yellow young
""",
    "mood": """
absent-minded afraid ambitious amused angry anxious ashamed asleep astonished at_home awake
bewildered blind bold bored brave busy calm careless cautious cheerful clever clumsy cold
comfortable content cross curious cynical deaf delighted depressed determined devout disappointed
discreet drunk eager early eccentric embarrassed envious excited exhausted faithful famous
fond_of_music forgetful friendly frightened frugal furious generous gentle gloomy grateful greedy
guilty happy healthy helpful hoarse homesick honest hopeful hungry idle ill impatient in_love
indifferent innocent irritable jealous jolly kind late lazy left-handed lonely loyal lucky mad merry
miserable modest moody musical nervous nosy obstinate odd old out_of_breath patient penniless pious
pleased poor proud punctual puzzled quiet quick ready reasonable relieved religious restless rich
right rude ruthless sad satisfied seasick sensible serious shocked short-sighted shrewd shy sick
silent sincere sleepy sober sorry stingy strict strong stubborn superstitious surprised suspicious
tall thirsty thoughtful timid tired tolerant touched tough unhappy unlucky unwell vain vigilant
wealthy weary well witty worried wrong young
""",
    "adverb": """
abruptly absently accidentally again almost_at_once angrily anxiously at_once at_last awkwardly
badly barely boldly bravely briefly brightly busily calmly carefully carelessly casually cautiously
cheerfully clearly closely coldly constantly curiously deeply deliberately directly drily eagerly
early easily evenly eventually faintly faithfully firmly fondly foolishly for_a_while for_no_reason
frequently gently gladly gloomily gracefully gradually gravely greedily grimly happily hastily
heavily helplessly honestly hopefully immediately impatiently in_silence in_the_end in_vain indeed
innocently instantly keenly kindly lazily lightly loudly loyally luckily meekly merrily mildly
more_than_once mysteriously neatly nervously nicely noisily now_and_then oddly often once_more
openly patiently perfectly plainly politely poorly promptly properly proudly punctually quickly
quietly rapidly rarely readily regularly reluctantly restlessly roughly rudely sadly safely secretly
seldom sensibly seriously sharply shyly silently simply sleepily slightly slowly smoothly softly
solemnly sometimes soon steadily sternly stiffly stubbornly suddenly surely sweetly swiftly tenderly
thoroughly thoughtfully tightly together too_late truly twice unexpectedly unhappily urgently
usually vaguely violently warmly weakly wearily well wildly willingly wisely with_care
with_great_care with_some_difficulty without_a_word without_hurry
""",
    "go": """
arrive come come_back climb creep cross_over disappear go go_away go_home go_out hurry jump leave
limp march move_on pass ride return rise run sail set_off slip_away step_inside stop stroll stumble
swim travel turn_back turn_round vanish wait walk wander
""",
    "act": """
answer argue blush cough cry dance dream eat faint fall_asleep fight fish frown hesitate hum kneel
laugh lean_back lie_down listen nod pause play pray read rest shiver shout sigh sing sit_down sleep
smile smoke sneeze stammer stand_still stand_up tremble turn_pale wake_up weep whistle work write
yawn
""",
    "do": """
admire adjust avoid bend blame borrow break bring burn bury buy carry catch change check choose
clean close collect copy count cover cut damage defend deliver demand describe dig_up discover draw
drag drop empty examine exchange explain fetch fill find finish fix follow forget gather give_away
grab guard hang hate help hide hold ignore inspect invent keep kick know lend lift lock look_after
lose love make measure mend mention miss move need notice offer open order own pack paint pay_for
pick_up plan point_at polish prepare protect prove pull push put_down read receive recognize
remember remove repair replace rescue save search see sell send shake share show sketch spoil steal
study sweep take take_apart tear throw_away touch trust try turn_over understand use visit want wash
watch weigh wrap
""",
    "say": """
add admit agree announce answer argue ask beg boast call complain continue cry declare exclaim
explain grumble insist interrupt joke murmur mutter observe promise protest remark repeat reply
report say shout sigh state stammer suggest warn whisper wonder
""",
    "colour": """
amber azure beige black blue bronze brown cream crimson gold green grey indigo ivory lilac mauve
navy olive orange pink purple red rose scarlet silver turquoise violet white yellow
""",
    "body": """
arm back beard cheek chin ear elbow eye face finger foot forehead hair hand head heart knee leg lip
mouth neck nose palm shoulder sleeve stomach thumb throat tongue tooth voice wrist
""",
    "job_thing": """
account agenda agreement appendix application appointment approval archive article assessment
assignment attachment audit balance_sheet bill brochure budget bulletin calendar campaign cash_flow
catalogue certificate chart checklist claim clause committee complaint contract copy cost_estimate
course database deadline delivery department design draft estimate exhibition expense fee
file_server forecast form grant guideline handout inspection insurance interview inventory invoice
job_description lease ledger licence list loan logo machine mailing_list maintenance_plan manual
meeting memo menu newsletter notice offer order outline overview parking_space pay_slip permit
petition phase policy presentation price printer procedure product programme project proposal
questionnaire quota quotation receipt record reference registration reminder report reservation
review risk_register roof_repair roster salary sample schedule seminar service shift shipment
signature spreadsheet staff_room statement stock subsidy summary supplier survey target task
tax_return team template tender timetable training transfer translation travel_claim update vacancy
voucher warranty website workshop
""",
    "science": """
absorption acid adaptation algorithm allele antibody approximation asteroid atom bacterium biomass
boundary buffer carbon catalyst cell chromosome climate cluster coefficient cohort colony compound
concentration conductor control_group correlation crystal current cycle decay density detector
diffusion distribution drift ecosystem electrode electron embryo emission enzyme equation
equilibrium erosion evaporation field filter fluid flux force fossil frequency friction fungus
galaxy gene genome glacier gradient graph habitat heat hormone host humidity hypothesis immunity
impulse index infection inhibitor interaction ion isotope kernel laser layer lattice lens ligand
linkage load magnitude mammal mass matrix membrane metabolism microscope mineral mixture model
molecule moment momentum mutation network neuron nitrogen noise nucleus nutrient orbit organism
oscillation oxide oxygen parameter particle pathogen peak perturbation phase photon pigment plasma
plasticity pollen polymer population precipitate predator pressure prey probe protein protocol
quantum radiation ratio reaction receptor reef regression residual resonance response sample
sediment seedling sensor sequence signal simulation soil_sample solvent species spectrum stimulus
strain substrate surface symmetry symptom temperature tissue toxin trait trajectory treatment
turbulence vaccine valve variance vector velocity vertebrate viscosity voltage volume wavelength
yield
""",
    "device": """
adapter aerial alarm alarm_clock amplifier backup battery blender boiler button cable camera
cartridge charger coffee_maker compressor control_panel cooker cooling_fan cover cutter dehumidifier
dial display dishwasher drill drive dryer dust_filter engine fan filter freezer fuse gearbox grill
handset heater hinge hood hose indicator_light iron joystick kettle keypad knob lamp lawnmower lens
lever lid loudspeaker main_unit memory_card microphone mixer modem monitor motor mount mower nozzle
oven panel pedal plug power_button power_supply pressure_gauge printer projector pump radiator radio
receiver refrigerator regulator remote_control router safety_catch scanner screen seal sensor shaft
shredder slot smoke_detector socket speaker spring switch tank telephone thermostat timer toaster
torch tray tuner turbine vacuum_cleaner valve vent washing_machine water_heater webcam wheel wrench
""",
    "sportword": """
attack ball captain champion coach corner counter-attack cross crowd cup debut defence derby
dressing_room equaliser fixture foul free_kick goal goalkeeper half-time handball header injury
interval kick-off lead league linesman match midfield offside opener penalty pitch playoff referee
replay save score season semi-final set-piece shot squad stadium stoppage_time striker substitute
tackle terrace title touchline tournament transfer trophy whistle winger
""",
    "school": """
algebra anatomy archaeology architecture astronomy biology botany chemistry dancing drawing
economics engineering ethics farming geography geology geometry grammar gymnastics history
journalism law linguistics literature logic mathematics medicine music navigation painting
philosophy physics politics pottery printing psychology sculpture sociology statistics surgery
theology weaving zoology
""",
    "prefix_noun": """
apple back bell cattle church coal corn east farm fish flour garden gate glass hay hill horse ice
iron lake market meadow mill moon north oak orchard paper rain river rope sand school sea sheep
silver south spring stone summer sun tide tin water west wheat wind wine winter wood wool
""",
    "suffix_noun": """
bank barn basket bed bell bench boat bridge cart cellar cutter door dust farm festival field floor
gate ground hall handle house keeper lane light line maker man mark market merchant path pipe pit
pool pot road roof room seller shed shop side song stack stand stone store tower track trade tree
wagon wall way wheel work yard
""",
}

LISTS: dict[str, list[str]] = {
    name: [word.replace("_", " ") for word in text.split()] for name, text in _LISTS.items()
}
