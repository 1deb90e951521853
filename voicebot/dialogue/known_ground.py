"""Whether a stored conversation stands in a place that this version of the dialplan has.

Pure. A file is edited, or a newer version installed, while calls go on; the worker that takes one of
them over has the new file.
"""

from voicebot.dialogue.program import (
    AskMenu,
    CollectSlot,
    CompiledDialplan,
    HandOff,
    Op,
    RunTool,
)
from voicebot.dialogue.state import ConversationState, Wait


def frames_known(plan: CompiledDialplan, state: ConversationState) -> bool:
    """Whether its places in the program exist."""
    return all(
        f.block in plan.blocks and f.index <= len(plan.blocks[f.block])
        for f in (*state.frames, *state.menu_frames)
    )


def may_go_on(plan: CompiledDialplan, state: ConversationState) -> bool:
    """Whether it can go on here: places and slots exist, and what it waits for can be waited for."""
    if state.earlier is not None and not may_go_on(plan, state.earlier):
        return False
    slots = {*state.slots, *state.secrets, *([state.last_slot] if state.last_slot else [])}
    if not frames_known(plan, state) or not slots <= plan.slots.keys():
        return False
    wait = state.wait
    if wait is None:
        return True
    ops = plan.blocks.get(wait.block, ())
    return wait.index < len(ops) and bool(state.frames) and _is_awaited(plan, wait, ops[wait.index])


def _is_awaited(plan: CompiledDialplan, wait: Wait, op: Op) -> bool:
    match wait.kind:
        case "menu" | "router":
            known = not wait.candidate or wait.candidate in plan.globals
            return isinstance(op, AskMenu) and (known or wait.candidate in op.branches)
        case "slot" | "validate":
            return isinstance(op, CollectSlot) and op.slot == wait.slot
        case "tool":
            return isinstance(op, RunTool)
        case "handoff" | "transfer":
            return isinstance(op, HandOff) and wait.queue in plan.source.queues
