"""The bot on virtual time: packets in through a pipe, frames out, no socket, no clock.

    sip-test-harness ══ packets and their times ══► pipe ─► line ─► edge/receive_path
           ▲                                          │                    │
           └═════════ 20 ms frames, call record ══════┴── rtp/playout ◄── worker/virtual_call

The same packets give the same call, byte for byte, as fast as the CPU allows. Everything between the
socket and the store is the code that serves live calls; only engines are called in line (``engines``).
"""
