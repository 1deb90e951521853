"""A caller whose call was cut off rings back: whether, and from where, it can go on.

Pure. What is refused here is not offered; the caller is then served as if nothing had been.

- Nothing is done twice: a call that was in the middle of a tool that changes something does not go on,
  because nobody knows whether it did.
- Nobody gets past a gate by ringing from a number: what ``require`` had made sure of is made sure of
  again, and a secret that no gate asks for again ends the matter.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from voicebot.dialogue.compiling import RING_BACK
from voicebot.dialogue.known_ground import frames_known
from voicebot.dialogue.program import (
    AskMenu,
    CollectSlot,
    CompiledDialplan,
    HandOff,
    RequireAgain,
    RunTool,
)
from voicebot.dialogue.state import ConversationState, Wait


def place_to_go_on(plan: CompiledDialplan, snapshot: Mapping[str, Any]) -> ConversationState | None:
    """What a new call may go on from.

    Args:
        plan: The plan of the new call; it may be another version than that of the snapshot.
        snapshot: ``Conversation.snapshot`` of the call that was cut off.

    Returns:
        Its memory with its last question still to be asked; None when it cannot go on.
    """
    if RING_BACK not in plan.blocks:
        return None
    try:
        state = msgspec.convert(snapshot, ConversationState)
    except msgspec.ValidationError:
        return None
    if state.earlier is not None:  # it was cut off before it had gone on from the one before it
        state = state.earlier
    elif not _ask_again(plan, state):
        return None
    state.slots = {
        n: v for n, v in state.slots.items() if n in plan.slots and not plan.slots[n].sensitive
    }
    known = bool(state.frames) and frames_known(plan, state)
    return state if known and _secrets_come_again(plan, state) else None


def _ask_again(plan: CompiledDialplan, state: ConversationState) -> bool:
    """Put the operation that was waiting before the next one; False when it must not run again."""
    wait = state.wait
    if state.over or wait is None or not state.frames or state.frames[-1].block != wait.block:
        return False
    if not _may_run_again(plan, wait):
        return False
    state.frames[-1].index = wait.index
    state.slots.pop(wait.slot, None)  # not validated yet, or not confirmed
    state.secrets = [name for name in state.secrets if name != wait.slot]
    state.wait = None
    return True


def _may_run_again(plan: CompiledDialplan, wait: Wait) -> bool:
    ops = plan.blocks.get(wait.block, ())
    if wait.index >= len(ops):
        return False
    match ops[wait.index]:
        case AskMenu() | CollectSlot() | HandOff():
            return True
        case RunTool(tool=name):
            tool = plan.source.tools[name]
            return tool.post is None
        case _:
            return False


def _secrets_come_again(plan: CompiledDialplan, state: ConversationState) -> bool:
    asked = {
        slot
        for ops in plan.blocks.values()
        for op in ops
        if isinstance(op, RequireAgain) and state.variables.get(op.gate.variable)
        for slot in plan.flow_slots[op.gate.flow]
    }
    return asked.issuperset(state.secrets)
