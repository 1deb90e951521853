"""The texts of a dialplan that are known before anybody calls."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

from voicebot.core.delivery import Delivery
from voicebot.dialogue.expressions import Template
from voicebot.dialogue.manner import PLAIN, Manner
from voicebot.dialogue.program import CompiledDialplan, Say, Waiting


def fixed_texts(plan: CompiledDialplan) -> tuple[tuple[str, Delivery], ...]:
    """Every text without a hole and how it is spoken in the plan's own language, once, in its order."""
    found = _templates((plan.blocks, plan.slots, plan.handoff_say, plan.handoff_ended), PLAIN)
    fixed = (
        (template.render({}, lambda value, _: str(value)), plan.delivery(manner, plan.locale))
        for template, manner in found
        if not template.names
    )
    return tuple(dict.fromkeys((text, delivery) for text, delivery in fixed if text))


def _templates(node: object, manner: Manner) -> Iterator[tuple[Template, Manner]]:
    if isinstance(node, Say | Waiting):
        manner = node.prompting.manner
    if isinstance(node, Template):
        yield node, manner
    elif is_dataclass(node) and not isinstance(node, type):
        for field in fields(node):
            yield from _templates(getattr(node, field.name), manner)
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from _templates(value, manner)
    elif isinstance(node, tuple | list):
        for value in node:
            yield from _templates(value, manner)
