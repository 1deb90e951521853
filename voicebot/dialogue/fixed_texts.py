"""The texts of a dialplan that are known before anybody calls."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

from voicebot.dialogue.expressions import Template
from voicebot.dialogue.program import CompiledDialplan


def fixed_texts(plan: CompiledDialplan) -> tuple[str, ...]:
    """Every text without a hole, once, in the order of the plan: what can be rendered in advance."""
    found = _templates((plan.blocks, plan.slots, plan.filler, plan.handoff_say))
    texts = (t.render({}, lambda value, _: str(value)) for t in found if not t.names)
    return tuple(dict.fromkeys(text for text in texts if text))


def _templates(node: object) -> Iterator[Template]:
    if isinstance(node, Template):
        yield node
    elif is_dataclass(node) and not isinstance(node, type):
        for field in fields(node):
            yield from _templates(getattr(node, field.name))
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from _templates(value)
    elif isinstance(node, tuple | list):
        for value in node:
            yield from _templates(value)
