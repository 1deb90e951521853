"""Every metric of the product, in one place: name, meaning, labels and buckets.

Processes that ``voicebot serve`` starts write their values to memory-mapped files
(``telemetry.metrics_folder``), so that a scrape costs the edge nothing and counters outlive a worker. A
process that runs alone keeps them in memory and answers the scrape itself (docs/adr/0005).

Labels take few values, all ours: never a number, a name or a text of a caller. One observation costs
some microseconds: once per turn, per message or per tick of the process, never per sample.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_ONSET_S: Final = (
    *(0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.55),
    *(0.7, 0.9, 1.2, 1.6, 2.5, 5.0),
)
_STAGE_S: Final = (
    *(0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.12, 0.15),
    *(0.2, 0.3, 0.4, 0.6, 1.0, 1.5, 2.5, 5.0),
)
_TOKEN_S: Final = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2, 2.5, 5.0)
_TICK_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.25, 1.0)
_JITTER_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2)
_RATIO: Final = (0.0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0)
_CONFIDENCE: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_TALK_S: Final = (1, 2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, 3600)
_ANSWER_S: Final = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
_LOSS_DB: Final = (6, 10, 15, 20, 25, 30, 35, 40, 45, 50)

# ---------------------------------------------------------------- calls, at the edge

CALLS_LIVE: Final = Gauge("voicebot_calls_live", "Calls at this moment", multiprocess_mode="livesum")
CALL_SLOTS: Final = Gauge(
    "voicebot_call_slots", "Calls that the edges can carry at once", multiprocess_mode="livesum"
)
EDGES_READY: Final = Gauge(
    "voicebot_edges_ready", "Edges that take new calls", multiprocess_mode="livesum"
)
CALLS_STARTED: Final = Counter("voicebot_calls_started", "INVITEs that were let in")
CALLS_REFUSED: Final = Counter(
    "voicebot_calls_refused", "INVITEs that were not let in, or not answered in time", ["reason"]
)
CALLS_ENDED: Final = Counter("voicebot_calls_ended", "Calls that are over", ["ended_by"])
CALL_SECONDS: Final = Histogram("voicebot_call_seconds", "From answer to end", buckets=_TALK_S)
ANSWER_SECONDS: Final = Histogram("voicebot_answer_seconds", "From INVITE to our 200", buckets=_ANSWER_S)
WORKERS_LOST: Final = Counter("voicebot_workers_lost", "Links to a worker that broke in mid-call")
TAKEOVER_SECONDS: Final = Histogram(
    "voicebot_takeover_seconds", "From a broken link to the next worker", buckets=_STAGE_S
)
CALLS_WITHOUT_WORKER: Final = Counter(
    "voicebot_calls_without_worker", "Calls that were ended or refused because no worker was left"
)
RECORDINGS_PARTIAL: Final = Counter(
    "voicebot_recordings_partial", "Recordings with missing audio: disk full or too slow"
)

# ---------------------------------------------------------------- media, at the edge

RTP_PACKETS: Final = Counter(
    "voicebot_rtp_packets",
    "Datagrams of the RTP ports: received, lost, late, duplicate, foreign, malformed, sent",
    ["kind"],
)
RTP_CONCEALED_SECONDS: Final = Counter(
    "voicebot_rtp_concealed_seconds", "Caller audio that was guessed because it was lost"
)
RTP_JITTER_SECONDS: Final = Histogram(
    "voicebot_rtp_jitter_seconds", "Interarrival jitter (RFC 3550), each 5 s", buckets=_JITTER_S
)
RTP_LOSS_RATIO: Final = Histogram(
    "voicebot_rtp_loss_ratio", "Share of packets lost on the way to us, per call", buckets=_RATIO
)
RTP_FAR_LOSS_RATIO: Final = Histogram(
    "voicebot_rtp_far_loss_ratio",
    "Share of our packets lost, as the far end's RTCP reports it",
    buckets=_RATIO,
)
FRAME_LATE_SECONDS: Final = Histogram(
    "voicebot_frame_late_seconds", "How late the 20 ms clock of an edge ticked", buckets=_TICK_S
)
PLAYOUT_QUEUE_SECONDS: Final = Histogram(
    "voicebot_playout_queue_seconds",
    "Speech that waits at the edge, each 5 s",
    buckets=(0, 0.1, 0.5, 1, 2, 5, 10, 20, 30),
)
ACOUSTIC_ANOMALIES: Final = Counter(
    "voicebot_acoustic_anomalies",
    "Calls with: clipping, one_way_in (nothing comes), one_way_out (the far end hears nothing), "
    "silent (a line without any sound), echo",
    ["kind"],
)

# ---------------------------------------------------------------- turns, at the worker

TURNS: Final = Counter(
    "voicebot_turns",
    "Answered turns: by speech or dtmf; llm is no, asked (a model was asked) or failed",
    ["by", "llm"],
)
RESPONSE_ONSET_SECONDS: Final = Histogram(
    "voicebot_response_onset_seconds",
    "From the last packet of caller speech to the first audible packet of the answer",
    ["by"],
    buckets=_ONSET_S,
)
STAGE_SECONDS: Final = Histogram(
    "voicebot_stage_seconds", "Duration of each stage of a turn", ["stage"], buckets=_STAGE_S
)
STAGE_OVERSPENT: Final = Counter(
    "voicebot_stage_overspent", "Turns in which a stage spent more than its budget", ["stage"]
)
SPECULATIONS: Final = Counter(
    "voicebot_speculations", "Turns by whether the answer had been prepared", ["outcome"]
)
PARTIAL_CONFIDENCE: Final = Histogram(
    "voicebot_partial_confidence", "Confidence of partial results", buckets=_CONFIDENCE
)
FINAL_CONFIDENCE: Final = Histogram(
    "voicebot_final_confidence", "Confidence of final results with words", buckets=_CONFIDENCE
)
RECOGNITIONS_FAILED: Final = Counter("voicebot_recognitions_failed", "Turns the recogniser gave up")
VOICES_FAILED: Final = Counter("voicebot_voices_failed", "Utterances that no voice could say")
INTERRUPTIONS: Final = Counter(
    "voicebot_interruptions",
    "Pauses because somebody spoke over the bot: stopped (meant) or resumed (not meant)",
    ["outcome"],
)
INTERRUPTION_SECONDS: Final = Histogram(
    "voicebot_interruption_seconds", "From the pause to stop or resume", ["outcome"], buckets=_STAGE_S
)
DROP_OFFS: Final = Counter(
    "voicebot_drop_offs", "Callers who hung up before the dialplan was done, by step", ["step"]
)
TAKEOVERS: Final = Counter(
    "voicebot_takeovers", "Calls another worker began: restored or begun anew", ["outcome"]
)
RING_BACKS: Final = Counter(
    "voicebot_ring_backs", "Callers who were offered to go on with a call that a fault had cut off"
)
TOOL_SECONDS: Final = Histogram(
    "voicebot_tool_seconds", "Tool calls of the dialplan", ["outcome"], buckets=_STAGE_S
)
STORE_LATE: Final = Counter(
    "voicebot_store_late", "Writes the session store did not confirm in time or refused"
)
HANDOFFS: Final = Counter("voicebot_handoffs", "Handoffs to people that ended", ["outcome"])
HANDOFFS_WAITING: Final = Gauge(
    "voicebot_handoffs_waiting", "Callers who wait for a person", multiprocess_mode="max"
)
ECHO_RETURN_LOSS_DB: Final = Histogram(
    "voicebot_echo_return_loss_db", "Attenuation of the bot's echo, calls with echo", buckets=_LOSS_DB
)

# ---------------------------------------------------------------- the language model

LLM_REQUESTS: Final = Counter("voicebot_llm_requests", "Requests: answered or failed", ["outcome"])
LLM_SECONDS: Final = Histogram("voicebot_llm_seconds", "Whole answers", buckets=_TOKEN_S)
LLM_FIRST_TOKEN_SECONDS: Final = Histogram(
    "voicebot_llm_first_token_seconds", "To the first piece of a streamed answer", buckets=_TOKEN_S
)
LLM_TOKEN_SECONDS: Final = Histogram(
    "voicebot_llm_token_seconds", "Between pieces of a streamed answer", buckets=_TOKEN_S
)

# ---------------------------------------------------------------- what a worker has queued and kept

WORKER_CALLS: Final = Gauge(
    "voicebot_worker_calls", "Calls that workers serve", multiprocess_mode="livesum"
)
WORKERS_READY: Final = Gauge(
    "voicebot_workers_ready", "Workers that are loaded", multiprocess_mode="livesum"
)
QUEUE_DEPTH: Final = Gauge(
    "voicebot_queue_depth",
    "In the workers: inbox (messages that wait in the fullest call), recogniser (turns without a "
    "thread), speaking (utterances being rendered)",
    ["queue"],
    multiprocess_mode="livesum",
)
STORE_DEGRADED: Final = Gauge(
    "voicebot_store_degraded",
    "Workers that write to the journal because the session store fails",
    multiprocess_mode="livesum",
)
LOOP_LATE_SECONDS: Final = Histogram(
    "voicebot_loop_late_seconds", "How late a worker's event loop woke up", buckets=_TICK_S
)
PROMPT_CACHE_LOOKUPS: Final = Counter("voicebot_prompt_cache_lookups", "Rendered prompts", ["outcome"])
PROMPT_CACHE_BYTES: Final = Gauge(
    "voicebot_prompt_cache_bytes", "Rendered prompts in memory", multiprocess_mode="livesum"
)

# ---------------------------------------------------------------- the supervisor

CHILD_RESTARTS: Final = Counter("voicebot_child_restarts", "Processes that died", ["program"])
DRAINING: Final = Gauge("voicebot_draining", "1 while no new calls are taken", multiprocess_mode="max")
