"""The checker finds each planted defect at its line, and nothing in the samples."""

import json
import re
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from voicebot.config.located_yaml import load_located_yaml
from voicebot.dialogue.checker import check_dialplan
from voicebot.dialogue.graph import mermaid, plan_edges, svg
from voicebot.dialogue.library import PlanLibrary
from voicebot.dialogue.loader import load_dialplan
from voicebot.dialogue.plan_tests import run_plan_tests
from voicebot.dialogue.schema import schema_text

DIALPLANS = Path(__file__).parents[2] / "dialplans"
SVG = "{http://www.w3.org/2000/svg}"
SAMPLES = sorted(DIALPLANS.glob("*.yaml"))

GOOD = """\
version: 1
name: good
locale: en-GB
timezone: Europe/London
routes:
  - match: { to: ["shop"] }
    flow: main
    vars: { brand: "Shop" }
  - match: { to: ["+442012340000"] }
    flow: main
    vars: { brand: "Shop" }
hours:
  open:
    weekly: { mon-fri: "08:00-20:00", sat: "09:00-13:00" }
    closed_on: ["2026-12-25"]
defaults:
  no_input:
    timeout: 6s
    say: ["Sorry?"]
    then: { handoff: general, reason: no_input }
  no_match:
    say: ["Sorry?"]
    then: { handoff: general, reason: no_match }
  dtmf: { terminator: "#", cancel: "*" }
  on_error:
    say: "Something went wrong."
    then: { handoff: general, reason: error }
globals:
  - { intent: agent, examples: ["speak to a person"], dtmf: "0", goto: { handoff: general } }
slots:
  account:
    type: digits
    length: 8
    ask: "Your account number?"
    validate: { webhook: exists, fail: "Not found." }
  pin:
    type: digits
    length: 4
    ask: "Your code?"
    sensitive: true
    input: [dtmf]
  reason:
    type: choice
    options: { lost: ["lost"], stolen: ["stolen"] }
    ask: "Lost or stolen?"
    dtmf: { "1": lost, "2": stolen }
tools:
  exists: { post: "https://crm.example/exists", send: [account] }
  login: { post: "https://crm.example/login", send: [account, pin] }
  balance: { fixture: balances, send: [account], returns: { amount: money } }
fixtures:
  balances:
    - { when: { account: "12345678" }, values: { amount: "1 GBP" } }
queues:
  general: { sip: "sip:2000@pbx.example", ring: 25s }
handoff:
  context: { slots: [account] }
flows:
  main:
    - say: "Welcome to {{ brand }}."
    - if: "not hours.open"
      then: { say: "We are closed.", hangup: closed }
    - menu:
        ask: "How can I help?"
        help: "Say balance or card."
        choices:
          - { intent: balance, dtmf: "1", examples: ["my balance"], goto: balance }
          - { intent: card, dtmf: "2", examples: ["lost card"], goto: card }
  identify:
    - collect: account
    - collect: pin
    - call: login
      result:
        ok: { set: { verified: true } }
        denied: { say: "Wrong.", retry: pin }
        error: { handoff: general }
  balance:
    - require: { verified: identify }
    - call: balance
      result:
        ok: { say: "You have {{ amount | money }}." }
    - hangup: done
  card:
    - collect: reason
    - say: "It is blocked, {{ reason }}."
      hangup: done
tests:
  - name: greeting
    at: "2026-11-23T10:00"
    stub: { login: ok }
    turns: [ { bot: "Welcome" } ]
"""

# (what is planted, text replaced, replacement, text on the line that must be named, words of the message)
DEFECTS = [
    ("unknown key", 'ask: "Your code?"', 'aks: "Your code?"', "aks:", "unknown key"),
    ("missing key", '    ask: "Your code?"\n', "", "  pin:", "'ask' is missing"),
    ("bad duration", "timeout: 6s", "timeout: 6", "timeout: 6", "a duration needs a unit"),
    ("wrong type", "length: 8", 'length: "8"', 'length: "8"', "whole number"),
    ("unquoted key", '"1": lost', "1: lost", "1: lost", 'write "1"'),
    ("duplicate key", "    length: 4\n", "    length: 4\n    length: 5\n", "length: 5", "duplicate key"),
    ("anchor", "sensitive: true", "sensitive: &a true", "sensitive: &a", "anchor"),
    ("bad syntax", 'ask: "Lost or stolen?"', 'ask: "Lost or stolen?', None, "not valid YAML"),
    ("unknown flow", "goto: card", "goto: cards", "goto: cards", "unknown flow 'cards'"),
    ("unknown slot", "- collect: reason", "- collect: why", "collect: why", "unknown slot"),
    ("unknown tool", "- call: login", "- call: logon", "call: logon", "unknown tool"),
    ("unknown validator", "webhook: exists", "webhook: exist", "webhook: exist", "unknown tool"),
    ("unknown queue", "error: { handoff: general }", "error: { handoff: fraud }", "handoff: fraud", "unknown queue"),
    ("unknown fixture", "fixture: balances", "fixture: balance", "fixture: balance", "unknown fixture"),
    ("unknown option", '"2": stolen', '"2": broken', '"2": broken', "unknown option"),
    ("unknown route flow", 'to: ["shop"] }\n    flow: main', 'to: ["shop"] }\n    flow: start', "flow: start", "unknown flow"),
    ("unknown variable", "{{ brand }}", "{{ company }}", "company", "nothing is called 'company'"),
    ("unknown filter", "amount | money", "amount | cash", "cash", "unknown filter"),
    ("unclosed template", "{{ amount | money }}", "{{ amount | money", "amount | money", "pairs"),
    ("unknown hours", "not hours.open", "not hours.late", "hours.late", "no hours are called 'late'"),
    ("bad condition", "not hours.open", "hours.open is", "hours.open is", "not a condition"),
    ("bad span", '"09:00-13:00"', '"9-13"', '"9-13"', "is no span"),
    ("bad date", '"2026-12-25"', '"25.12.2026"', "25.12.2026", "not a date"),
    ("bad yearly date", '"2026-12-25"', '"12-32"', '"12-32"', "12-25 for every year"),
    ("bad special hours", 'closed_on: ["2026-12-25"]', 'special: { "12-24": "8-12" }', "12-24", "is no span"),
    ("closed and special", 'closed_on: ["2026-12-25"]', 'closed_on: ["12-24"]\n    special: { "12-24": "08:00-12:00" }', "special:", "is in closed_on too"),
    ("bad zone", "Europe/London", "Europe/Londn", "Londn", "unknown time zone"),
    ("day twice", 'sat: "09:00-13:00"', 'fri: "09:00-13:00"', "mon-fri:", "another line names"),
    ("hours not asked", '"not hours.open"', '"not brand"', "  open:", "get no answer of their own"),
    ("key clash in a menu", 'card, dtmf: "2"', 'card, dtmf: "1"', "intent: card", "is 'balance' already"),
    ("key clash with a global", 'card, dtmf: "2"', 'card, dtmf: "0"', "intent: card", "is the global 'agent'"),
    ("same example twice", '["lost card"]', '["my balance"]', "intent: card", "example of 'balance'"),
    ("no way to choose", 'card, dtmf: "2", examples: ["lost card"]', "card", "intent: card", "neither examples nor a key"),
    ("dead step", "- hangup: done\n", '- hangup: done\n    - say: "Never."\n', "Never", "never reached"),
    ("unreachable flow", "  card:\n", "  old:\n    - hangup: x\n  card:\n", "  old:", "no step leads"),
    ("silent loop", '    - say: "Welcome to {{ brand }}."', "    - goto: main", "goto: main", "for ever"),
    ("two-flow loop", "  card:\n    - collect: reason", "  card:\n    - goto: back\n  back:\n    - goto: card\n  gone:\n    - collect: reason", "goto: back", "for ever"),
    ("no no-input path", "    then: { handoff: general, reason: no_input }\n", "", "- menu:", "says nothing is hung up"),
    ("no no-match path", "    then: { handoff: general, reason: no_match }\n", "", "- menu:", "not understood is hung up"),
    ("secret said", 'say: "Wrong."', 'say: "Not {{ pin }}."', "{{ pin }}", "sensitive slot 'pin' aloud"),
    ("secret copied", "verified: true }", 'verified: true, code: "{{ pin }}" }', "code:", "copies the sensitive slot"),
    ("secret handed over", "slots: [account] }", "slots: [account, pin] }", "slots: [account, pin]", "another system"),
    ("unknown slot handed over", "slots: [account] }", "slots: [acount] }", "slots: [acount]", "no slot is called 'acount'"),
    ("secret to the model", "tools:\n", 'tools:\n  faq: { answer_from: ["x"], send: [pin] }\n', "faq:", "language model"),
    ("model of the installation", "queues:\n", "router:\n  llm: { model: small }\nqueues:\n", "model: small", "unknown key"),
    ("option of a choice", 'card, dtmf: "2"', 'card, barge_in: { speech: false }, dtmf: "2"', "intent: card", "unknown key"),
    ("length of a choice", '    dtmf: { "1"', '    length: 3\n    dtmf: { "1"', "length: 3", "has no effect: 'length' is for digits, phone and spelling"),
    ("digits in the past", "length: 8", "length: 8\n    past: true", "past: true", "is for date"),
    ("two lengths", "length: 8", "length: 8\n    min_length: 7", "length: 8", "give either"),
    ("choice without keys", '    dtmf: { "1": lost, "2": stolen }', "    input: [dtmf]", "input: [dtmf]", "add 'dtmf'"),
    ("name on the keypad", '    type: choice\n    options: { lost: ["lost"], stolen: ["stolen"] }\n    ask: "Lost or stolen?"\n    dtmf: { "1": lost, "2": stolen }', "    type: name\n    ask: x\n    input: [dtmf]", "input: [dtmf]", "a name cannot be keyed in"),
    ("no way to answer", "input: [dtmf]", "input: []", "input: []", "no way to answer"),
    ("secret read back", "sensitive: true", "sensitive: true\n    read_back: digits", "read_back", "never said"),
    ("choice in groups", '    dtmf: { "1"', '    read_back: grouped\n    dtmf: { "1"', "read_back", "read back as 'value'"),
    ("reason of nothing", 'say: "Wrong.", retry: pin', 'say: "Wrong.", reason: x, retry: pin', "reason: x", "no effect without 'handoff'"),
    ("barge-in of nothing", "set: { verified: true }", "set: { verified: true }, barge_in: { speech: false }", "barge_in", "no effect without 'say'"),
    ("stub of no outcome", "stub: { login: ok }", "stub: { login: okay }", "login: okay", "is none of ok, denied"),
    ("stub of another type", "stub: { login: ok }", "stub: { balance: { amount: lots } }", "balance: {", "'amount' is no money"),
    ("sample of another type", 'amount: "1 GBP"', "amount: lots", "lots", "'amount' is no money"),
    ("sample without a value", 'values: { amount: "1 GBP" }', "values: { sum: 1 }", "sum: 1", "'amount' is no money"),
    ("two things in a turn", '{ bot: "Welcome" }', '{ bot: "Welcome", caller: "hi" }', "turns:", "is one of caller"),
    ("test of no moment", 'at: "2026-11-23T10:00"', 'at: "23.11.2026"', "23.11.2026", "not a date and time"),
    ("unknown name when unsure", "  dtmf: { terminator", '  low_confidence: { say: "{{ anser }}?" }\n  dtmf: { terminator', "anser", "nothing is called 'anser'"),
    ("unknown name in a global", 'dtmf: "0", goto', 'dtmf: "0", say: "{{ who }}", goto', "{{ who }}", "nothing is called 'who'"),
    ("secret unencrypted", "https://crm.example/login", "http://crm.example/login", "crm.example/login", "unencrypted"),
    ("secret spoken", "input: [dtmf]", "input: [speech, dtmf]", "sensitive: true", "must be keyed in"),
    ("requirement never met", "set: { verified: true }", "set: { checked: true }", "require:", "never sets 'verified'"),
    ("tool without error path", "    then: { handoff: general, reason: error }\n", "", "- call: balance", "no 'error' branch"),
    ("tool address", "https://crm.example/exists", "crm.example/exists", "exists: {", "no http or https"),
    ("sends nothing known", "send: [account], returns", "send: [acount], returns", "send: [acount]", "nothing is called 'acount'"),
    ("route never reached", 'to: ["shop"]', 'to: ["shop", "*"]', '- match: { to: ["+44', "never reached"),
    ("trunk by a name", 'to: ["shop"] }', 'to: ["shop"], trunk: carrier }', "carrier", "no address or network"),
    ("route twice", '"+442012340000"', '"shop"', None, "belongs to an earlier route"),
    ("queue address", "sip:2000@pbx.example", "2000", "general: {", "no SIP address"),
    ("premium queue", "sip:2000@pbx.example", "sip:+19005550123@pbx.example", "general: {", "a premium number"),
    ("emergency queue", "sip:2000@pbx.example", "sip:999@pbx.example", "general: {", "an emergency number"),
    ("foreign in disguise", "sip:2000@pbx.example", "sip:+18095550123@pbx.example", "general: {", "charged as foreign"),
    ("satellite queue", "sip:2000@pbx.example", "sip:+8816123456@pbx.example", "general: {", "satellite"),
    ("terminator is cancel", 'cancel: "*"', 'cancel: "#"', "cancel:", "terminator too"),
    ("retry of nothing", "retry: pin", "retry: reason", "retry: reason", "does not collect"),
    ("two ways at once", 'say: "Wrong.", retry: pin', "goto: card, retry: pin", "retry: pin", "only one of"),
    ("test of nothing", "stub: { login: ok }", "stub: { logon: ok }", "logon", "no such tool"),
    ("falls off the end", "    - hangup: done\n  card", "  card", "- call: balance", "hangs up without a word"),
    ("unknown voice", "timezone: Europe/London", "timezone: Europe/London\nspeech: { voice: rsm }", "rsm", "no voice is called"),
    ("unknown preset", "timezone: Europe/London", "timezone: Europe/London\nspeech: { prosody: angry }", "angry", "must be 'neutral'"),
    ("bad respelling", "timezone: Europe/London", 'timezone: Europe/London\nlexicon: { "IVR": "i-v-r 2" }', "IVR", "plain letters"),
    ("unknown language", 'say: "Wrong."', 'language: fr, say: "Wrong."', "fr", "must be 'en-GB'"),
    ("unknown name in a filler", "- call: balance", '- call: balance\n      budget: { filler: "{{ whose }}" }', "whose", "nothing is called 'whose'"),
    ("unused slot", '- collect: reason\n    - say: "It is blocked, {{ reason }}."', '- say: "It is blocked."', "  reason:", "used nowhere"),
]  # fmt: skip


def test_the_good_plan_and_the_samples_have_no_mistakes():
    assert [str(f) for f in check_dialplan(GOOD)] == []
    for sample in SAMPLES:
        assert [str(f) for f in check_dialplan(sample)] == []


def test_at_least_25_kinds_of_defect_are_planted():
    assert len(DEFECTS) >= 25


@pytest.mark.parametrize(
    ("old", "new", "line_text", "words"), [d[1:] for d in DEFECTS], ids=[d[0] for d in DEFECTS]
)
def test_a_planted_defect_is_found_at_its_line(old, new, line_text, words):
    assert GOOD.count(old) >= 1
    text = GOOD.replace(old, new, 1)
    findings = check_dialplan(text, file="plan.yaml")
    found = [f for f in findings if words in str(f)]
    assert found, [str(f) for f in findings]
    lines = text.splitlines()
    if line_text is not None:
        wanted = {n for n, line in enumerate(lines, 1) if line_text in line}
        assert {f.error.line for f in found} & wanted, [str(f) for f in found]
    assert all(f.error.file == "plan.yaml" and f.error.column for f in found)


def test_checking_a_plan_takes_under_a_second():
    began = time.process_time()
    check_dialplan(SAMPLES[0])
    assert time.process_time() - began < 1


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda p: p.stem)
def test_the_tests_inside_a_sample_pass(sample):
    results = run_plan_tests(load_dialplan(sample))
    assert results
    assert [r for r in results if r.problem] == []


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda p: p.stem)
def test_a_sample_fits_the_published_schema(sample):
    schema = json.loads((DIALPLANS / "dialplan.schema.json").read_text())
    jsonschema.validate(load_located_yaml(sample).data, schema)


def test_the_published_schema_is_the_current_one():
    """Else run: voicebot dialplan schema -o dialplans/dialplan.schema.json."""
    assert (DIALPLANS / "dialplan.schema.json").read_text() == schema_text()


def test_the_schema_refuses_an_unknown_key():
    data = load_located_yaml(GOOD.replace("length: 8", "lenght: 8")).data
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, json.loads(schema_text()))


def test_the_graph_shows_every_flow_and_way():
    plan = load_dialplan(GOOD).source
    ways = {(e.source, e.target) for e in plan_edges(plan)}
    assert {("(call)", "main"), ("main", "balance"), ("balance", "identify"), ("main", "card")} <= ways
    assert "balance [1]" in mermaid(plan)
    assert svg(plan).count("<rect") == 1 + len({n for way in ways for n in way})


def test_the_picture_of_a_sample_has_no_line_or_label_across_a_box():
    """Lines run between columns, labels stand inside their boxes; what is heard anywhere is shown too."""
    plan = load_dialplan(DIALPLANS / "clinic.yaml").source
    root = ET.fromstring(svg(plan))
    sides = ("x", "y", "width", "height")
    boxes = [[float(r.get(k)) for k in sides] for r in root.iter(f"{SVG}rect") if r.get("x")]
    for path in root.iter(f"{SVG}path"):
        if path.get("marker-end"):
            numbers = [float(n) for n in re.findall(r"[-0-9.]+", path.get("d"))]
            inside = [b for b in boxes if b[0] + b[2] > min(numbers[::2]) and b[0] < max(numbers[::2])]
            assert not inside
    for span in root.iter(f"{SVG}tspan"):
        x, y = float(span.get("x")), float(span.get("y"))
        assert any(b[0] < x < b[0] + b[2] and b[1] < y < b[1] + b[3] for b in boxes)
    assert ("(at any step)", "queue nurse", "urgent [9]") in {
        (e.source, e.target, e.label) for e in plan_edges(plan)
    }


def test_hostile_names_are_escaped_in_the_picture():
    plan = load_dialplan(GOOD.replace("name: good", 'name: "<script>alert(1)</script>"')).source
    assert "<script>" not in svg(plan)


def test_a_changed_file_serves_new_calls_and_a_broken_one_does_not(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(GOOD)
    library = PlanLibrary(path)
    first = library.plan
    assert not library.refresh()
    path.write_text(GOOD.replace("name: good", "name: better"))
    assert library.refresh()
    assert (library.plan.name, first.name, library.version) == ("better", "good", 2)
    path.write_text("version: 2\n")
    assert not library.refresh()
    assert library.plan.name == "better"
    assert "must be 1" in str(library.rejected)
