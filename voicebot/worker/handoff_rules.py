"""The rules of handoffs, put together from settings and dialplan."""

import datetime as dt
import functools

from voicebot.config.settings import HandoffSettings, Settings
from voicebot.dialogue.model import Dialplan
from voicebot.dialogue.program import CompiledDialplan
from voicebot.handoff.destinations import DestinationRules, classify, number_refusal, refusal
from voicebot.handoff.queue import QueueRules
from voicebot.worker.handoff_call import HandoffRules, QueueTarget


def handoff_rules(settings: Settings, compiled: CompiledDialplan, now: dt.datetime) -> HandoffRules:
    """What applies to a call of this dialplan on this installation.

    Args:
        settings: Of the installation.
        compiled: The dialplan of the call.
        now: When the call came in, with a time zone: queues that are closed then stay closed for it.
    """
    plan = compiled.source
    local = now.astimezone(compiled.timezone)
    destinations = DestinationRules(
        enabled=settings.sip.allow_outgoing,
        hosts=settings.sip.outgoing_hosts,
        countries=settings.handoff.countries,
        home_country=settings.handoff.home_country,
    )
    return HandoffRules(
        settings=_with_plan(settings.handoff, plan),
        queues=tuple(
            QueueTarget(
                name,
                queue.targets,
                queue.mode,
                queue.ring,
                queue.priority,
                skills=tuple(queue.skills),
                overflow=queue.overflow or "",
                closed=queue.hours is not None and not compiled.hours[queue.hours].is_open(local),
            )
            for name, queue in plan.queues.items()
        ),
        next_queue_when_busy=plan.handoff.outcomes.busy == "next_queue",
        busy_waits=plan.handoff.outcomes.busy == "wait",
        sensitive=frozenset(name for name, slot in plan.slots.items() if slot.sensitive),
        shown=None if plan.handoff.context.slots is None else frozenset(plan.handoff.context.slots),
        may_call=functools.partial(refusal, rules=destinations),
        may_call_back=functools.partial(_may_call_back, rules=destinations),
    )


def _with_plan(settings: HandoffSettings, plan: Dialplan) -> HandoffSettings:
    accept = plan.handoff.accept
    own: dict[str, str | float] = {}
    if accept.digit is not None:
        own["accept_digit"] = accept.digit
    if accept.timeout is not None:
        own["accept_timeout_s"] = accept.timeout / 1000
    return settings.model_copy(update=own)


def queue_rules(settings: HandoffSettings, plan: Dialplan) -> tuple[QueueRules, ...]:
    """How the queues of this dialplan treat those who wait."""
    return tuple(
        QueueRules(
            name,
            skills=frozenset(queue.skills),
            announce_every_ms=queue.announce.every or int(settings.announce_s * 1000) or None,
            tell_position=queue.announce.position,
            tell_wait=queue.announce.wait,
            callback_after_ms=queue.callback_after or int(settings.callback_after_s * 1000),
            overflow_after_ms=queue.overflow_after,
            overflow=queue.overflow or "",
            max_waiting=queue.max_waiting,
        )
        for name, queue in plan.queues.items()
    )


def _may_call_back(number: str, *, rules: DestinationRules) -> bool:
    """Only a telephone number of an allowed country, and only when outgoing calls are switched on."""
    kind, _ = classify(number, home_country=rules.home_country)
    return rules.enabled and kind == "geographic or mobile" and not number_refusal(number, rules)
