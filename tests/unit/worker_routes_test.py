"""Which calls a route takes, from what the edge tells of them."""

from voicebot.dialogue.library import PlanLibrary
from voicebot.link.messages import Start
from voicebot.worker.plan_shelf import PlanShelf

PLAN = """
version: 1
name: carriers
routes:
  - match: { trunk: "10.1.0.0/16", headers: { X-Brand: red } }
    flow: hello
flows:
  hello: [ { say: "Hello.", hangup: done } ]
"""


def test_a_trunk_is_where_the_call_comes_from(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    plan = PlanShelf(PlanLibrary(path), None, ()).latest

    def taken(address, **headers):
        start = Start(call_id="c", session_id="s", source_address=address, headers=headers)
        return plan.open(start) is not None

    brand = {"x-brand": "red"}
    assert taken("10.1.7.7", **brand)
    assert not taken("10.2.7.7", **brand)
    assert not taken("10.1.7.7")
    assert not taken("")
