"""Everyday telephone English, grouped by meaning: what a dialplan's few examples cannot teach.

A plan that gives "block my card" as an example has never shown "freeze" or "debit card". The table says
which words are used for the same thing, so that an example with one of them stands for the others.
Written by hand for what people ring businesses and assistants about; a word may be in several
groups; ``_`` joins the words of a fixed phrase. Words are looked up
as they are, else by their stems.
"""

from typing import Final

WORD_CLASSES: Final[dict[str, str]] = {
    # ---- what is asked for
    "want": (
        "want wanna need would_like like_to wish looking_to hoping_to trying_to planning_to going_to "
        "gonna"
    ),
    "show": "show display list pull_up bring_up give_me read_me let_me_see see view look_at",
    "tell": "tell explain say describe inform let_me_know know find_out wondering wonder clarify",
    "help": "help assist aid support guide walk_me_through hand",
    "how_to": (
        "how_do_i how_to how_can_i how_does_one instructions steps procedure way_to method "
        "directions_for process"
    ),
    "how_much": "how_much amount total sum figure how_many number_of quantity count",
    "how_long": "how_long duration length_of_time length",
    "when": "when what_time what_day what_date which_day how_soon",
    "where": "where location place whereabouts address",
    "why": "why reason cause how_come what_for explanation",
    "can_i": ("can_i could_i may_i am_i_able allowed permitted possible okay_to alright_to permissible"),
    "should": "should ought must have_to required need_to supposed recommend advise suggest",
    "begin": (
        "start begin open launch initiate commence kick_off turn_on switch_on activate enable boot "
        "put_on"
    ),
    "end": (
        "stop end quit exit finish close turn_off switch_off deactivate disable shut_off shut_down "
        "cease halt kill"
    ),
    "change": "change alter modify edit update adjust switch amend revise correct replace swap",
    "set": "set create make put add establish setup set_up configure register enter",
    "remove": (
        "remove delete erase clear take_off cross_off get_rid drop scratch strike wipe eliminate "
        "take_out"
    ),
    "cancel": (
        "cancel undo never_mind nevermind forget_it abort scrap call_off revoke withdraw nix drop_it "
        "stop_that disregard ignore do_not_bother leave_it stop_it end_that halt skip_it no_longer "
        "scratch_that quit_that change_my_mind changed_my_mind"
    ),
    "check": (
        "check verify confirm look_up review examine inspect make_sure double_check see_if status "
        "progress"
    ),
    "find": "find locate search discover track_down seek hunt look_for spot",
    "get": "get obtain acquire receive grab pick_up collect have",
    "give": "give provide hand supply offer furnish grant",
    "send": "send mail ship deliver forward dispatch post email transmit",
    "buy": "buy purchase order shop_for pay_for acquire pick_up",
    "ask_for": "request apply ask_for submit put_in file application applied",
    "increase": (
        "increase raise more higher up boost bump extend louder bigger upgrade improve better grow "
        "greater additional extra faster larger"
    ),
    "decrease": (
        "decrease lower reduce less down cut smaller quieter softer turn_down shrink slower minus"
    ),
    "quick": ("quick fast speed rapid hurry urgent immediately right_away asap soon now right_now rush"),
    "again": (
        "again repeat once_more one_more_time over_again say_that_again come_again rephrase pardon redo"
    ),
    "wrong": (
        "wrong error problem issue trouble mistake incorrect fail broken malfunction glitch not_working"
    ),
    "new": "new another fresh different replacement other additional second",
    "old": "old previous prior last former past recent earlier latest history historical",
    "next": "next upcoming following coming future later ahead",
    "best": "best top good great nice excellent finest ideal favorite popular recommended fun",
    "many": "many lots several plenty bunch busy crowded packed full",
    "all": "all every everything each whole entire total complete any",
    "left": "left remain remaining leftover still unused available have_left",
    "used": "used spent taken gone consumed use_up utilized",
    "early": "early sooner before beforehand advance ahead",
    "late": "late overdue delayed delay behind postponed past_due tardy",
    "far": "far distance miles kilometers away distant long_way close near",
    "near": "near nearby close closest nearest local around_here vicinity area round_here around",
    "about": "about regarding concerning related details information info particulars specifics",
    "explain_word": "mean meaning definition define stand_for signify sense_of synonym",
    "spell": "spell spelling letters spelled spelt",
    # ---- people and talk
    "person": (
        "person human agent representative operator someone somebody people adviser advisor clerk "
        "colleague staff real_person"
    ),
    "machine": ("robot bot computer machine ai artificial program software automated virtual android"),
    "name": (
        "name call_you call_me called nickname title moniker known_as address_me go_by refer named "
        "names call_yourself change_your_name your_name my_name nicknamed rename"
    ),
    "maker": (
        "made make built build creator create maker designer design programmer program develop "
        "inventor invent wrote company manufacturer"
    ),
    "boss": "boss work_for employer employ master owner manager supervisor company serve",
    "family": (
        "wife husband mother mom mum father dad brother sister son daughter child kid parent aunt "
        "uncle cousin grandma grandmother grandpa partner spouse"
    ),
    "friend": "friend buddy pal mate roommate neighbor girlfriend boyfriend colleague coworker",
    "someone": (
        "bob john mary tom jim joe sam mike mark anna sarah kate lisa david steve jeff ted bill alice "
        "george james robert peter paul jane susan linda karen amy emma bobby jimmy tommy billy rob "
        "dave matt chris dan"
    ),
    "hello": (
        "hello hi hey good_morning good_afternoon good_evening greetings howdy how_are_you "
        "how's_it_going what's_up nice_to_meet welcome how_have_you_been how_is_it how_are_things "
        "how_do_you_do morning evening afternoon good_day hiya yo what_is_up how_goes what_is_new "
        "how_are long_time_no_see how_is_your_day sup pleased_to_meet hello_there hey_there"
    ),
    "bye": (
        "bye goodbye see_you later farewell take_care good_night talk_soon ciao adios so_long leave "
        "talk_to_you see_ya bye-bye catch_you until_next good_bye peace_out nice_talking "
        "nice_chatting gotta_go have_to_go have_a_good have_a_nice been_nice cya adieu"
    ),
    "thanks": (
        "thanks thank thank_you appreciate grateful cheers gratitude thx ta helpful many_thanks "
        "thank_u much_obliged kind_of_you owe_you that_helps great_help big_help very_kind"
    ),
    "yes": (
        "yes yeah yep sure correct right affirmative true absolutely definitely okay ok indeed "
        "certainly agree exactly of_course yup that_is_right you_got_it for_sure sounds_good totally "
        "why_not i_do that_works agreed positive yea aye certain no_doubt"
    ),
    "no": (
        "no nope nah negative false incorrect not_right never no_way not_true untrue disagree don't "
        "do_not not_at_all not_correct absolutely_not that_is_wrong hell_no no_thanks i_refuse "
        "decline uh_uh not_so nay wrong"
    ),
    "maybe": (
        "maybe perhaps possibly unsure not_sure uncertain might could_be don't_know no_idea undecided "
        "either do_not_know cannot_say can_not_say hard_to_say unclear not_certain 50_50 may_be "
        "could_go_either i_guess i_suppose who_knows either_way not_positive no_clue not_really_sure"
    ),
    "sorry": "sorry apologize excuse regret pardon",
    "joke": "joke funny laugh humor pun humorous hilarious comedy amuse",
    "fact": "fact trivia interesting knowledge tidbit learn something_new",
    "age": "age old birthday born years_old birth birthdate",
    "hobby": (
        "hobby free_time spare_time leisure pastime for_fun enjoy interest like_to_do activities "
        "activity"
    ),
    "pet": "pet dog cat animal fish bird hamster puppy kitten rabbit",
    "life": "life exist existence universe living purpose world",
    "origin": "from origin hometown birthplace country_of native raised come_from born",
    "skill": (
        "can_you_do able abilities ability capable capability skill feature function topic help_with "
        "ask_you subjects talents"
    ),
    "talk": "talk speak chat converse say discuss voice conversation",
    "voice": (
        "accent voice male female tone sound british australian southern whisper quiet quietly hush"
    ),
    "language": (
        "language spanish french german italian english chinese japanese russian portuguese korean "
        "arabic dutch swedish greek hindi thai turkish polish vietnamese mandarin hawaiian latin "
        "swahili norwegian finnish"
    ),
    "translate": (
        "translate translation interpret say_in how_do_you_say word_for in_spanish in_french "
        "in_german how_would_i_say phrase"
    ),
    # ---- telephone and devices
    "phone": "phone cellphone cell mobile telephone smartphone iphone android handset device",
    "call": "call ring dial phone_up telephone give_a_call call_up",
    "message": "text message sms msg texting note imessage",
    "email": "email e-mail inbox gmail",
    "device": (
        "device speaker tablet laptop computer tv television gadget echo alexa siri headphones "
        "bluetooth watch"
    ),
    "pair": "sync pair connect link disconnect unsync unpair bluetooth hook_up",
    "home": (
        "light lights lamp thermostat ac heater heat air_conditioning fan door lock garage vacuum dim "
        "blinds oven house bedroom kitchen living_room bathroom upstairs porch hallway lamps lighting "
        "bulb appliance dishwasher washer dryer fridge refrigerator doorbell curtains shades "
        "garage_door air_conditioner hot_tub sprinkler sprinklers smart_home alarm_system smart "
        "plugged degrees"
    ),
    "settings": "settings setting reset factory default preferences options restore original",
    "sound": "volume sound audio loud loudness noise hear mute speakers",
    "here": (
        "here my_location current_location coordinates gps where_am_i position this_place right_here"
    ),
    # ---- money
    "money": "money cash dollars pounds bucks funds euros quid payment dough cents",
    "currency": (
        "currency exchange conversion_rate exchange_rate dollar dollars pound euro euros yen peso "
        "pesos rupee ruble yuan franc won bitcoin forex usd"
    ),
    "bank": (
        "bank chase wells_fargo citibank barclays hsbc lloyds natwest santander credit_union "
        "capital_one us_bank bank_of_america td pnc fidelity"
    ),
    "account": "account checking savings current_account bank_account saving accounts",
    "balance": "balance how_much_money how_much_do_i_have worth in_my_account funds",
    "card": (
        "card credit_card debit_card visa mastercard amex american_express discover plastic debit credit"
    ),
    "cheque": "check_book checkbook cheque cheques checks paper_checks",
    "pin": "pin passcode password pin_number code security_code personal_identification",
    "block": (
        "block blocked freeze frozen lock locked hold suspend deactivate stop put_a_hold restrict "
        "unfreeze unblock"
    ),
    "lost": ("lost lose misplaced missing can't_find cannot_find left_behind gone disappeared dropped"),
    "stolen": "stolen steal stole theft thief robbed taken mugged hacked compromised",
    "fraud": (
        "fraud fraudulent suspicious unauthorized scam strange_charge unknown weird_charge "
        "didn't_make did_not_make identity illegal not_mine didn't_buy shady"
    ),
    "damaged": (
        "damaged broken snapped cracked bent melted scratched torn worn ruined destroyed chewed "
        "demagnetized won't_swipe chip"
    ),
    "declined": (
        "declined decline denied refused rejected reject not_accepted didn't_go_through "
        "not_go_through wouldn't_accept turned_down accepted"
    ),
    "expire": "expire expiration expires expiry valid_until good_until good_through",
    "limit": "limit cap maximum max ceiling credit_line line_of_credit most",
    "least": "minimum min least lowest smallest bare_minimum",
    "score": ("score rating credit_score credit_rating credit_report fico equifax transunion experian"),
    "interest": "interest rate apr percentage percent annual yield",
    "fee": "fee charge charges cost price surcharge fees penalty rate expensive expense cost_of",
    "bill": (
        "bill bills invoice utility electric gas_bill water cable rent mortgage internet_bill "
        "phone_bill electricity electric_bill water_bill cable_bill statement utilities payment"
    ),
    "pay": "pay paid payment settle paying pay_off repay",
    "due": "due deadline owe owed owing pay_by due_date outstanding",
    "transfer": "transfer move wire send_money shift put_money moving transfers",
    "deposit": "deposit direct_deposit put_in depositing payroll",
    "salary": ("salary income wage wages earn earnings make_a_year paycheck pay_rate compensation job"),
    "payday": "payday paycheck paid get_paid next_paycheck last_paid payroll pay_day payment",
    "tax": "tax taxes irs federal state_tax sales_tax refund tax_return income_tax",
    "tax_form": "w2 w-2 p60 tax_form wage_form w_2 form forms",
    "retire": "401k 401 retirement pension rollover ira roll_over roth 401ks",
    "routing": "routing routing_number sort_code aba",
    "transaction": (
        "transaction transactions purchase purchases charge charges activity statement spent bought "
        "spending"
    ),
    "spend": "spend spent spending expenditure splurge",
    "reward": "reward rewards points cash_back cashback miles redeem bonus perks loyalty",
    "insurance": (
        "insurance coverage cover policy benefits insured plan insurer deductible premium health_plan "
        "medical health dental insure"
    ),
    # ---- time
    "time_of_day": (
        "time clock hour o'clock minutes morning afternoon evening night noon midnight am pm"
    ),
    "date": "date day month year today calendar_date",
    "weekday": "monday tuesday wednesday thursday friday saturday sunday weekend",
    "month": "january february march april june july august september october november december",
    "relative_day": (
        "today tomorrow tonight yesterday this_week next_week this_weekend next_month last_week "
        "last_month this_month next_year days_from_now weeks_from_now"
    ),
    "number": (
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
        "twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million dozen half"
    ),
    "timezone": "timezone time_zone utc gmt eastern pacific est pst mountain_time central",
    "alarm": "alarm wake wake_up wakeup alarms alarm_clock",
    "timer": "timer stopwatch countdown count_down seconds_timer",
    "remind": "remind reminder reminders don't_let_me_forget remember don't_forget forget",
    "calendar": "calendar schedule agenda event appointment events planner itinerary",
    "meeting": "meeting meetings conference appointment get_together meet meeting_room",
    "holiday": (
        "holiday holidays bank_holiday christmas easter thanksgiving new_year halloween day_off national"
    ),
    "leave": (
        "pto vacation time_off leave days_off paid_time_off holiday_days annual_leave sick_days "
        "vacation_days off_work personal_days off"
    ),
    "approve": (
        "approve approved approval accepted denied granted rejected pending go_through authorized okayed"
    ),
    "list": (
        "to_do todo to-do task tasks chores list to_do_list errands my_list on_my_list the_list lists "
        "to_dos add_to off_my_list to_do_lists things_to_do agenda"
    ),
    "shopping": "shopping shopping_list grocery groceries grocery_list supermarket store shop",
    "playlist": "playlist playlists library favorites queue my_songs",
    # ---- travel
    "flight": (
        "flight fly plane airplane airline flights flying jet aeroplane airfare delta united "
        "american_airlines southwest boarding board land landing lands gate takeoff arrive depart "
        "departure"
    ),
    "baggage": (
        "luggage baggage bag bags suitcase suitcases belongings carry-on carryon carry_on overhead"
    ),
    "airport": "airport terminal airports jfk lax heathrow ohare gatwick dfw",
    "hotel": (
        "hotel motel room inn resort lodging accommodations hostel rooms hilton marriott "
        "place_to_stay suite bed_and_breakfast hotels"
    ),
    "rental": "rental rent hire rent_a_car car_rental hire_car hertz avis enterprise",
    "reservation": (
        "reservation reservations book booking reserve booked table seat table_for reserved reserving"
    ),
    "taxi": "uber taxi cab lyft ride driver pick_me_up rideshare",
    "travel": (
        "travel trip traveling vacation visit visiting going_to journey tour abroad overseas trips "
        "away tourist holiday headed fly_to"
    ),
    "abroad": (
        "abroad overseas international foreign another_country outside_the_country internationally "
        "out_of_the_country out_of_town"
    ),
    "visa": "visa visas international_visa travel_visa entry_permit passport",
    "vaccine": (
        "vaccine vaccines vaccination shots shot immunization immunizations vaccinated vaccinations "
        "jab jabs vaccinate immunized"
    ),
    "warning": ("alert alerts advisory warning safe safety danger dangerous unsafe warnings advisories"),
    "notify": (
        "notify notification let_my_bank_know inform heads_up letting_you_know aware tell_my_bank "
        "let_you_know"
    ),
    "plug": ("plug outlet socket converter adapter plugs adaptor outlets voltage electrical sockets"),
    "sights": (
        "sights sightseeing attractions things_to_do tourist places_to_see landmarks museum visit "
        "see_in activities to_do_in places_to_visit"
    ),
    "traffic": (
        "traffic congestion jam road highway freeway traffic_jam commute rush_hour route motorway "
        "backed_up"
    ),
    "directions": (
        "directions direct route way_to navigate get_to get_from map path navigation bus_to take_me "
        "fastest_way turn_by_turn fastest_route"
    ),
    "place": (
        "city town country state place london paris rome berlin madrid tokyo china japan france "
        "germany italy spain mexico canada england india russia brazil australia ireland scotland "
        "greece egypt turkey thailand vietnam korea africa europe asia york california texas florida "
        "chicago boston denver seattle vegas las_vegas los_angeles san_francisco new_york "
        "new_york_city miami atlanta dallas houston phoenix portland orlando detroit san_diego "
        "philadelphia washington hawaii alaska ohio michigan nevada arizona colorado oregon montana "
        "utah toronto vancouver montreal dublin amsterdam barcelona moscow beijing shanghai hong_kong "
        "singapore dubai peru argentina chile cuba jamaica bahamas cancun aruba israel morocco kenya "
        "south_africa sweden norway denmark finland poland austria switzerland portugal belgium "
        "netherlands hungary philippines indonesia bali new_zealand nigeria ghana cleveland nashville "
        "memphis new_orleans minneapolis st_louis tampa charlotte pittsburgh baltimore sacramento "
        "san_jose salt_lake kansas georgia virginia carolina tennessee kentucky indiana illinois "
        "wisconsin minnesota iowa alabama mississippi louisiana oklahoma idaho wyoming maine vermont"
    ),
    # ---- food
    "eat_out": (
        "restaurant restaurants diner bistro cafe eatery steakhouse pizzeria buffet bar place_to_eat "
        "grill olive_garden applebees red_lobster outback mcdonalds chilis burger_king taco_bell"
    ),
    "review": (
        "review reviews rating ratings rated any_good what_do_people stars yelp opinion feedback "
        "well_reviewed"
    ),
    "wait_time": ("wait wait_time busy crowded crowd line packed how_long_is_the_wait waiting full"),
    "cook": (
        "cook bake boil fry grill roast microwave cooking oven baking steam simmer barbecue smoke "
        "cooked baked"
    ),
    "recipe": "recipe recipes make cook prepare recipe_for",
    "ingredient": (
        "ingredient ingredients contains need_for goes_in what's_in go_into what_is_in is_in"
    ),
    "substitute": (
        "substitute instead replace swap alternative substitution replacement in_place_of interchange "
        "sub"
    ),
    "calories": "calories calorie caloric fattening",
    "nutrition": (
        "nutrition nutritional healthy protein fat sugar carbs sodium vitamins fiber health_info "
        "nutrients cholesterol carbohydrates unhealthy good_for_me"
    ),
    "spoil": (
        "spoil expire go_bad last fresh stale rotten shelf_life keep_in_the_fridge still_good "
        "good_for go_off leftovers spoiled sit_out"
    ),
    "meal": (
        "meal dinner lunch breakfast supper eat snack dish food cuisine brunch hungry dessert foods"
    ),
    "cuisine": (
        "italian mexican chinese thai indian japanese french greek american vegan vegetarian sushi "
        "korean mediterranean asian"
    ),
    "food": (
        "chicken beef pork fish salmon steak turkey ham bacon egg eggs rice pasta spaghetti lasagna "
        "pizza burger sandwich soup stew salad bread butter milk cheese yogurt sour_cream flour sugar "
        "salt pepper oil olive_oil onion garlic tomato tomatoes potato potatoes carrot carrots beans "
        "corn broccoli spinach lettuce mushroom apple apples banana bananas orange grapes avocado "
        "cake pie cookies brownies chocolate ice_cream cereal oatmeal peanut_butter jelly honey tacos "
        "burrito enchiladas curry noodles ramen shrimp lobster crab tofu chili meatloaf meatballs "
        "casserole guacamole hummus vinegar lemon lime cream muffin pancakes waffles toast chips "
        "fries cheeto cheetos doritos coke soda juice coffee tea wine beer pudding almonds nuts "
        "cornbread quiche risotto pancake donut bagel hamburger cheesecake coleslaw omelette "
        "turkey_breast buttermilk cinnamon vanilla baking_soda basil oregano"
    ),
    # ---- car
    "car": (
        "car truck vehicle suv van automobile jeep honda toyota ford chevy bmw nissan auto motor audi "
        "mercedes corvette mustang"
    ),
    "fuel": "gas fuel petrol diesel gasoline unleaded octane premium tank",
    "mileage": (
        "mpg mileage miles_per_gallon gas_mileage fuel_economy per_gallon fuel_efficient gallon gallons"
    ),
    "tire": "tire tires tyre tyres wheel flat spare blowout flat_tire",
    "pressure": "pressure psi air inflated inflation pressures inflate pump",
    "oil": "oil oil_change motor_oil engine_oil change_oil change_my_oil oil_changed",
    "service": (
        "maintenance service tune_up tuneup checkup repair mechanic serviced inspection fix looked_at "
        "repaired servicing fixed worked_on shop"
    ),
    "battery": (
        "battery jump jumpstart jumper cables jump_start dead_battery jumper_cables start_my_car"
    ),
    # ---- knowledge, music, play
    "weather": (
        "weather rain raining snow sunny temperature forecast hot cold humid storm degrees umbrella "
        "cloudy windy chilly warm rainy outside jacket"
    ),
    "measure": (
        "inch inches foot feet yard yards mile meter meters centimeters kilometer kilometers ounce "
        "ounces pound pounds gram grams kilogram kilograms cup cups tablespoon tablespoons teaspoon "
        "teaspoons liter liters quart pint convert conversion metric millimeters kilos kg ml celsius "
        "fahrenheit"
    ),
    "maths": (
        "plus minus times divided multiply square_root sum add subtract calculate math equal equals "
        "product cubed squared divide multiplied percent_of percent cosine equation solve"
    ),
    "music": (
        "music song songs tune track album artist band playlist rock jazz rap country_music hip_hop "
        "pop singer beatles classical metal blues spotify radio tunes techno reggae tracks"
    ),
    "play": "play listen hear put_on start_playing playing",
    "skip": "skip next_song next_track forward following_song change_the_song pass next",
    "coin": "coin heads tails flip toss heads_or_tails flipping quarter",
    "dice": "dice die roll sided rolls rolling six_sided",
    "word": "word term phrase words sentence",
    # ---- work, goods
    "work": "work job office company boss employer hr human_resources coworkers workplace",
    "order": (
        "order ordered shipment package parcel delivery item tracking product packages orders amazon "
        "shipped ship"
    ),
    "arrive": "arrive arrival come show_up get_here delivered reach delivery arrive_by here_by",
    "track": "track tracking trace follow where_is status where's",
    "update_status": "status update progress stage hear_back heard",
    # ---- who, when, and how it is asked
    "me": "i me my mine myself i_am i_have",
    "you": "you your yours yourself you_are",
    "other_person": "he she him her his they them their it_is",
    "past": (
        "did was were had already used been last ago yesterday have_i earlier before recently did_i"
    ),
    "future": "will going_to shall gonna tomorrow upcoming next later plan be_able",
    "now": "now current currently right_now at_the_moment present presently today so_far as_of",
    "ask_yes_no": (
        "is_it is_there are_there do_i do_you does_it are_you have_you can_you will_you did_you is_my "
        "has_my was_my am_i is_that could_you would_you"
    ),
    "ask_what": "what which whats what_is what_are tell_me",
    "ask_who": "who whom whose who_is by_whom",
    "share": (
        "share broadcast let_them_know send_to pass_on let_him let_her let_my tell_my tell_him "
        "tell_her my_location where_i_am"
    ),
    "improve": "improve raise increase build boost repair fix better higher rebuild up good",
    "speak_as": (
        "sound_like speak_in talk_like use_a voice accent british_accent male_voice female_voice talk_in"
    ),
    "quiet": ("whisper quiet quietly hush softly low_voice lower_your_voice keep_it_down silent soft"),
    "speech_speed": (
        "talk_faster talk_slower speak_faster speak_slower slow_down speed_up slower faster too_fast "
        "too_slow speed slowly quickly"
    ),
    "list_change": "add remove delete take_off put_on cross_off cross clear erase check_off",
    "owe": "owe owed due amount_due balance_due total_due have_to_pay need_to_pay outstanding",
    "job": "job work employer career profession occupation employment",
    "worker_for": "work_for employed employer employs boss company_you working_for report_to",
    "restaurant": (
        "dine dining eat eat_at food_place places_to_eat hungry_for reservation_at somewhere_to_eat "
        "somewhere_good"
    ),
    "opinion": (
        "recommend suggest suggestion suggestions recommendation recommendations ideas advise "
        "what_should any_good good_place idea options know_of"
    ),
    "see_tourist": (
        "tourist sightseeing attraction attractions landmarks fun_things activities must_see "
        "worth_seeing should_i_see should_i_visit"
    ),
    "how_old": ("how_old what_age your_age how_many_years when_is_your_birthday year_were_you birthday"),
    "take_reservation": (
        "take_reservations accept_reservations do_they_take allow_reservations reservations_accepted "
        "does_it_take"
    ),
    "confirm": "confirm confirmed confirmation double_check make_sure verify still_have still_on",
    "damage_cause": (
        "dog washing_machine wash laundry microwave stepped ran_over bent scratched snapped fell "
        "ripped chewed melted water"
    ),
    "bring_back": "remind_me remember_to do_not_let_me make_sure_i set_a_reminder",
    "time_ask": "what_time the_time time_is current_time time_now",
    "request_status": (
        "approved approval been_approved accepted_yet gone_through status_of request_status did_my "
        "has_my time_off_request vacation_request"
    ),
    "where_am_i": (
        "where_am_i where_i_am my_location current_location my_position located_right_now what_street "
        "which_city_am what_city_am what_town_am where_exactly"
    ),
    "tell_others": (
        "let_my send_my tell_my share_my give_my inform_my with_my to_my my_wife my_friend my_mom "
        "my_boss my_brother my_sister"
    ),
    "call_someone": (
        "call dial phone ring give_a_call make_a_call place_a_call call_up on_the_line "
        "get_on_the_phone connect_me"
    ),
    "call_me": "call_me refer_to_me address_me know_me_as my_name_is i_go_by name_is_now",
    "call_you": (
        "call_you name_you refer_to_you your_new_name rename_you your_name_is you_are_now answer_to "
        "respond_to"
    ),
    "my_name": (
        "my_name who_am_i do_you_know_me name_do_you_have know_my_name call_me_what you_call_me "
        "i_am_called"
    ),
    "your_name": (
        "your_name who_are_you what_are_you_called you_go_by should_i_call_you do_you_have_a_name "
        "what_do_i_call_you can_i_call_you may_i_call_you call_you_by are_you_called"
    ),
    "improve_score": (
        "improve_my raise_my increase_my build_my boost_my better_my fix_my make_my_credit "
        "get_my_credit higher_credit good_credit"
    ),
    "have_to_do": (
        "to_do have_to_do need_to_do supposed_to_do left_to_do do_today tasks task chore duties"
    ),
    "buy_again": (
        "reorder order_more buy_more need_more running_out run_out low_on get_more purchase_more "
        "place_an_order"
    ),
    "in_stock": "run_out out_of left do_i_have have_enough any_left",
    "appliance": (
        "lights light lamp fan heater thermostat tv television stove oven coffee_maker vacuum blinds"
    ),
    "turn": "turn_on turn_off switch_on switch_off turn_down turn_up power shut_off dim set_the",
    "how_far": (
        "how_far how_many_miles distance_between distance_to far_is far_away how_many_blocks "
        "how_close miles_from"
    ),
    "how_get_there": (
        "how_do_i_get how_to_get best_way way_to get_there fastest_way directions_to navigate_to "
        "take_me_to route_to drive_to walk_to nearest closest"
    ),
    "travel_time": (
        "how_long_will_it_take how_long_to_get time_to_get will_it_take_to travel_time commute "
        "take_to_drive"
    ),
    "greeting_words": (
        "hello hi hey greetings good_morning good_afternoon good_evening how_are_you how_have_you "
        "what_is_up how_is_it how_is_your"
    ),
    "small_talk": (
        "how_are_you how_is_your_day how_have_you_been what_is_up how_is_life are_you_well "
        "feeling_today doing_today"
    ),
    "made_of": (
        "ingredients what_is_in what_goes contain contains included need_for_making components "
        "required_for"
    ),
    "how_make": (
        "how_do_you_make how_do_i_make how_to_make how_to_cook how_do_you_cook recipe make_a "
        "teach_me_to_make prepare"
    ),
    "how_long_cook": (
        "how_long_should_i_cook how_long_to_bake how_many_minutes cook_for bake_for cooking_time "
        "how_long_do_i how_long_should how_long_does_it_take_to_cook boil_for in_the_oven"
    ),
    "safe_food": (
        "still_good still_safe go_bad gone_bad expired how_long_does how_long_can last_in keep_for "
        "okay_to_eat safe_to_eat out_of_date"
    ),
    "healthy": (
        "healthy nutrition nutritional protein fat sodium sugar carbs vitamins fiber nutrients "
        "how_healthy healthy_is good_for_you"
    ),
    "account_info": "routing_number account_number sort_code bank_number",
    "approve_credit": (
        "application applied apply approved approval card_application credit_card_application heard_back"
    ),
    "where_is_it": (
        "where_is find_my locate_my where_did_i have_you_seen lost_my misplaced_my cannot_find "
        "track_down help_me_find"
    ),
    "when_arrive": (
        "when_will when_does when_is expect arrive get_here be_here show_up expected delivered "
        "on_its_way"
    ),
    "reschedule": "reschedule move postpone push_back change_the_date delay shift rearrange",
    "free_time": (
        "am_i_free am_i_busy anything_planned have_anything plans available booked busy free "
        "what_do_i_have going_on planned"
    ),
    "event": (
        "party birthday appointment meeting dinner event conference wedding game concert dentist "
        "doctor interview practice lesson class recital"
    ),
    "calendar_do": (
        "add_to_my_calendar put_on_my_calendar on_my_calendar my_calendar my_schedule to_my_schedule "
        "from_my_calendar off_my_calendar"
    ),
    "remind_what": (
        "my_reminders reminders what_did_i_need what_was_i_supposed supposed_to_remember "
        "do_i_need_to_remember what_do_i_need"
    ),
    "speak_language": (
        "speak talk respond answer reply switch_to change_to set_your use in_spanish in_english language"
    ),
    "how_say": (
        "how_do_you_say how_do_i_say how_would_you_say what_is_the_word word_for say_in translate_to "
        "what_does mean_in how_to_say what_do_you_say"
    ),
    "income_words": (
        "my_income my_salary my_wage my_earnings how_much_do_i_make how_much_do_i_earn my_pay "
        "make_per_year make_an_hour annual_income"
    ),
    "get_paid": (
        "get_paid payday paid_next paid_last next_paycheck pay_period when_do_i_get_paid "
        "last_paycheck direct_deposited"
    ),
    "owe_bill": "how_much_is_my how_much_do_i_owe owe_on my_bill bill_total total_on",
    "bill_when": (
        "when_is_my when_do_i_have_to_pay due_date bill_due when_do_i_need_to_pay pay_by last_day_to_pay"
    ),
    "pay_now": "pay_my pay_the pay_off make_a_payment take_care_of_my settle_my",
    "vacation_used": (
        "have_i_used have_i_taken used_so_far taken_so_far i_have_used days_used how_many_days_have "
        "did_i_use"
    ),
    "vacation_left": (
        "do_i_have_left have_i_left left remaining how_much_vacation how_many_days_do balance "
        "still_have_left days_do_i_have"
    ),
    "vacation_ask": (
        "request_time_off take_time_off request_vacation put_in_for like_to_take days_off request_off "
        "need_off want_off ask_for_time"
    ),
    "cost_trip": "how_much_does how_much_is how_much_would how_much_will cost_to price_of",
    "reservation_change": (
        "cancel_my_reservation cancel_reservation cancel_my_table no_longer_need_reservation call_off_my"
    ),
    "meal_idea": (
        "what_should_i_eat what_should_i_make what_should_i_cook dinner_idea meal_idea "
        "what_can_i_make something_to_eat suggest_a_meal what_to_cook hungry"
    ),
    "place_eat": (
        "where_can_i_eat where_should_i_eat good_place_to_eat place_to_get best_place_to_eat "
        "nearest_restaurant restaurants_near good_restaurants find_me_a_restaurant"
    ),
    "tourist_what": (
        "what_to_do things_to_see what_can_i_do what_is_there_to_do what_should_i_see places_to_go "
        "fun_in interesting_places"
    ),
    "safety": (
        "safe is_it_safe travel_alert travel_advisory alerts_for dangerous any_alerts safety_concerns"
    ),
    "going_trip": (
        "i_am_going i_will_be i_am_traveling i_will_be_traveling going_on_a_trip leaving_for "
        "heading_to i_am_visiting be_out_of"
    ),
    "company": "company business organization firm corporation employer",
    "song_now": (
        "what_song name_of_this_song song_is_this this_song song_playing who_sings title_of_this "
        "called_song what_is_playing who_is_this_by artist_of_this"
    ),
    "song_add": (
        "add_this_song add_to_my_playlist to_my_playlist to_playlist put_this_song this_song_to"
    ),
    "spell_word": (
        "how_do_you_spell how_do_i_spell how_is_spelled spelling_of spell correct_spelling "
        "right_way_to_spell"
    ),
    "define_word": "what_does mean definition_of define meaning_of what_is_the_meaning what_is_a",
    "calc": (
        "what_is square divided times plus minus add subtract multiply sum percent how_much_is number"
    ),
    "recall_last": "last most_recent latest previous time_i when_was_my when_did_i ago",
    "need_service": (
        "need_to_take schedule_a book_a bring_in car_in looked_at set_up_an appointment_for "
        "make_an_appointment tune"
    ),
}
"""Group to words."""
