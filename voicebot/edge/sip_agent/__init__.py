"""The SIP user agent: pjsua2 for signalling, polled by the asyncio loop. Nothing else imports it.

    library    the C library: limits, timers, log, start
    callbacks  the library's objects; they only pass on
    leg        one dialog
    agent      all dialogs of the process

Why things are as they are (each one was a crash or a lost call of the wheel pjsua2-python 2.15.1):

- One thread. The loop calls ``libHandleEvents(0)``; no library thread exists, so there are no locks.
- No RTP: accounts use the loop-back media transport and ``onCallSdpCreated`` writes our socket
  into the body, for answers, re-INVITEs and outgoing offers alike.
- Library callbacks only note what happened. Owners are told after ``libHandleEvents`` has returned:
  a final reject of an INVITE without SDP inside ``onIncomingCall`` aborts the process.
- An exception in a callback is swallowed by the library and the call would hang: ``_guarded`` logs it
  and ends that call with 500.
- The conference bridge is clocked by us (``library.ConferenceBridge``): without that it is full after
  254 calls.
- ``pj.Call`` is dropped inside ``onCallState(DISCONNECTED)``: later, its destructor hangs up whatever
  call has been given the same slot meanwhile. Nothing is keyed by pjsua's call id.
- ``answer()`` sends custom headers on a reject, ``hangup()`` drops them.
- ``CallOpParam(True)`` for offers; without True they have no audio.
- An incoming REFER is refused: by default the library dials its target (toll fraud).
- 200s that are never ACKed hold a slot for ``64*T1`` = 32 s; ``pjsip_tsx_set_timers`` shortens that.
"""

from voicebot.edge.sip_agent.agent import PjSipAgent
from voicebot.edge.sip_agent.library import library_call_limit, system_name_servers

__all__ = ["PjSipAgent", "library_call_limit", "system_name_servers"]
