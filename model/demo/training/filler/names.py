"""People and places for the filler text: ordinary ones, so that none is taken for an invented name
of the facts."""

from __future__ import annotations

MEN = """
Adam Albert Alex Alfred Andrew Arthur Ben Bernard Bill Bob Brian Bruce Carl Charles Chris Colin Dan
Daniel David Dennis Donald Douglas Ed Edgar Edward Eric Ernest Francis Frank Fred Gary Geoffrey
George Gerald Gordon Graham Greg Harold Harry Henry Herbert Howard Hugh Ian Jack Jacob James Jason
Jeremy Jim Joe John Jonathan Joseph Keith Kenneth Kevin Lawrence Leonard Lewis Luke Mark Martin
Matthew Max Michael Neil Nicholas Nigel Oliver Oscar Patrick Paul Peter Philip Ralph Ray Richard
Robert Roger Ronald Roy Sam Samuel Sean Simon Stanley Stephen Stuart Ted Thomas Tim Timothy Tom Tony
Victor Vincent Walter William Ahmed Ali Antonio Carlos Chen Diego Fernando Giovanni Hans Hassan
Hiroshi Ibrahim Ivan Jean Jorge Jose Juan Karim Klaus Lars Luis Marco Mario Miguel Mohammed Omar
Pablo Pedro Pierre Raj Sergei Vijay Wolfgang Yusuf
""".split()

WOMEN = """
Agnes Alice Alison Amanda Amy Andrea Angela Ann Anna Anne Audrey Barbara Beatrice Betty Bridget
Carol Caroline Catherine Charlotte Christine Clara Claire Deborah Diana Donna Dora Doris Dorothy
Edith Eileen Eleanor Elizabeth Ellen Emily Emma Esther Ethel Eve Evelyn Fiona Florence Frances
Gillian Gladys Grace Hannah Harriet Hazel Heather Helen Hilda Irene Isabel Jane Janet Jean Jennifer
Jessica Jill Joan Joanna Josephine Joyce Judith Julia Karen Kate Laura Lily Linda Lisa Lucy Margaret
Marion Martha Mary Maud Megan Mildred Monica Nancy Nora Olive Pamela Patricia Pauline Peggy Rachel
Rebecca Rose Ruth Sally Sandra Sarah Sheila Sophie Stella Susan Sylvia Teresa Ursula Vera Veronica
Violet Virginia Wendy Winifred Aisha Ana Carmen Chiara Fatima Francesca Giulia Greta Ingrid Keiko
Leila Lucia Maria Marta Mei Olga Priya Rosa Svetlana Yasmin Yoko
""".split()

SURNAMES = """
Adams Allen Anderson Andrews Armstrong Atkinson Bailey Baker Barker Barnes Bell Bennett Bishop Black
Bradley Brooks Brown Burton Butler Campbell Carpenter Carter Chapman Clark Clarke Cole Collins Cook
Cooper Cox Crawford Cunningham Davies Davis Dawson Dixon Edwards Elliott Ellis Evans Fisher Fletcher
Ford Foster Fox Fraser Gardner Gibson Gordon Graham Grant Gray Green Griffiths Hall Hamilton Hardy
Harper Harris Harrison Hart Harvey Hawkins Henderson Hill Holmes Hopkins Howard Hudson Hughes Hunt
Hunter Jackson Jenkins Johnson Johnston Jones Jordan Kelly Kennedy King Knight Lambert Lawrence
Lawson Lee Lewis Lloyd Marshall Martin Mason Matthews Miller Mills Mitchell Moore Morgan Morris
Murphy Murray Nelson Newman Nicholson Owen Palmer Parker Parsons Patel Pearson Perkins Perry
Phillips Porter Potter Powell Price Reed Reid Reynolds Richards Richardson Roberts Robertson
Robinson Rogers Rose Ross Russell Ryan Saunders Scott Shaw Simpson Smith Spencer Stevens Stevenson
Stewart Stone Taylor Thompson Thomson Turner Walker Wallace Walsh Ward Watson Watts Webb Webster
West White Wilkinson Williams Williamson Wilson Wood Woods Wright Young Garcia Martinez Lopez
Fernandez Rossi Ferrari Bianchi Schmidt Schneider Fischer Weber Meyer Wagner Becker Dubois Moreau
Laurent Bernard Ivanov Petrov Novak Kowalski Nowak Hansen Jensen Nielsen Larsen Andersson Tanaka
Suzuki Sato Yamamoto Wang Zhang Liu Kim Park Nguyen Singh Kumar Sharma Gupta Khan Hussain Ahmed
O'Brien O'Connor O'Neill MacDonald McCarthy McKenzie
""".split()

CITIES = [name.replace("_", " ") for name in """
London Paris Berlin Madrid Rome Vienna Prague Warsaw Budapest Lisbon Dublin Edinburgh Glasgow
Cardiff Belfast Manchester Liverpool Leeds Bristol York Oxford Cambridge Norwich Plymouth Bath
Brussels Antwerp Ghent Amsterdam Rotterdam Utrecht Hamburg Munich Cologne Leipzig Dresden Bremen
Zurich Geneva Basel Bern Lyon Marseille Bordeaux Nantes Lille Nice Barcelona Seville Valencia Bilbao
Porto Naples Milan Turin Florence Venice Bologna Palermo Athens Istanbul Ankara Sofia Bucharest
Belgrade Zagreb Stockholm Oslo Copenhagen Helsinki Bergen Riga Tallinn Vilnius Moscow Kiev Odessa
Cairo Tunis Algiers Casablanca Lagos Nairobi Cape_Town Tokyo Osaka Kyoto Seoul Beijing Shanghai
Hong_Kong Singapore Bangkok Hanoi Manila Delhi Mumbai Calcutta Karachi Tehran Baghdad Damascus
Jerusalem Sydney Melbourne Auckland New_York Boston Chicago Philadelphia Denver Dallas Houston
Seattle Portland San_Francisco Los_Angeles Toronto Montreal Vancouver Mexico_City Havana Lima Bogota
Buenos_Aires Santiago
""".split()]

COUNTRIES = [name.replace("_", " ") for name in """
England Scotland Wales Ireland France Germany Spain Italy Portugal Austria Switzerland Belgium
Poland Hungary Romania Bulgaria Greece Turkey Sweden Norway Denmark Finland Iceland Russia Ukraine
Egypt Morocco Tunisia Kenya Nigeria Ghana South_Africa India China Japan Korea Vietnam Thailand
Indonesia Australia New_Zealand Canada Mexico Brazil Argentina Chile Peru Colombia Cuba
""".split()]

NATIONS = """
English Scottish Welsh Irish French German Spanish Italian Portuguese Austrian Swiss Belgian Polish
Hungarian Greek Turkish Swedish Norwegian Danish Finnish Russian Egyptian Moroccan Indian Chinese
Japanese Korean Australian Canadian Mexican Brazilian Dutch European American African Asian
""".split()

RIVERS = """
Thames Severn Seine Loire Rhine Danube Elbe Rhone Po Tiber Nile Niger Congo Ganges Mekong Amazon
Hudson Mississippi Volga Vistula Tagus Ebro Clyde Trent Tyne
""".split()
