"""The rules of handoffs, put together from settings and dialplan."""

import functools

from voicebot.config.settings import Settings
from voicebot.dialogue.model import Dialplan
from voicebot.handoff.destinations import DestinationRules, classify, number_refusal, refusal
from voicebot.worker.handoff_call import HandoffRules, QueueTarget


def handoff_rules(settings: Settings, plan: Dialplan) -> HandoffRules:
    """What applies to the calls of this dialplan on this installation."""
    destinations = DestinationRules(
        enabled=settings.sip.allow_outgoing,
        hosts=settings.sip.outgoing_hosts,
        countries=settings.handoff.countries,
        home_country=settings.handoff.home_country,
    )
    return HandoffRules(
        settings=settings.handoff,
        queues=tuple(
            QueueTarget(name, queue.targets, queue.mode, queue.ring, queue.priority)
            for name, queue in plan.queues.items()
        ),
        next_queue_when_busy=plan.handoff.outcomes.get("busy") == "next_queue",
        sensitive=frozenset(name for name, slot in plan.slots.items() if slot.sensitive),
        may_call=functools.partial(refusal, rules=destinations),
        may_call_back=functools.partial(_may_call_back, rules=destinations),
    )


def _may_call_back(number: str, *, rules: DestinationRules) -> bool:
    """Only a telephone number of an allowed country, and only when outgoing calls are switched on."""
    kind, _ = classify(number, home_country=rules.home_country)
    return rules.enabled and kind == "geographic or mobile" and not number_refusal(number, rules)
