"""Ids of our own making: short, safe in file names, never taken from a peer."""

import secrets


def new_call_id() -> str:
    """One call leg: ``c`` and 12 hex digits."""
    return f"c{secrets.token_hex(6)}"


def new_session_id() -> str:
    """One conversation, which may outlive a call leg: ``s`` and 16 hex digits."""
    return f"s{secrets.token_hex(8)}"
