"""Every setting of the product, with its unit and default; one frozen tree.

Order of precedence: environment (``VOICEBOT_SIP__PORT=5070``), then the YAML file given by ``--config``
or ``VOICEBOT_CONFIG``, then the defaults here. Unknown names are refused in both places. Each program
passes the sub-tree down, so a part sees only what is its own.
"""

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from voicebot.config.echo_settings import EchoSettings, EchoTriggerSettings
from voicebot.config.section import Section as _Section

Port = Annotated[int, Field(ge=1, le=65535)]
CountryCode = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,2}$")]


def _network(text: str) -> str:
    ipaddress.ip_network(text, strict=False)
    return text


def _address(text: str) -> str:
    ipaddress.IPv4Address(text)
    return text


Network = Annotated[str, AfterValidator(_network)]


class RegistrationSettings(_Section):
    """Optional REGISTER to a PBX. The password comes from the environment only."""

    registrar: str = Field("", description="SIP URI of the registrar; empty: do not register")
    aor: str = Field("", description="address of record, as sip:bot@pbx.example")
    username: str = ""
    password_env: str = Field("VOICEBOT_SIP_PASSWORD", description="variable that holds the password")
    expires_s: int = Field(300, ge=60, le=86400)


class DigestUser(_Section):
    """Somebody who may call after a password; it comes from the environment only."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.+-]{1,64}$")
    password_env: str = Field("VOICEBOT_DIGEST_PASSWORD", description="variable with the password")


class SipSettings(_Section):
    """Signalling."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = 5060
    advertised_host: str = Field("", description="address in Contact and SDP; empty: host")
    trunks: tuple[Network, ...] = Field(
        ("127.0.0.0/8",), description="networks that may call; see strangers for all others"
    )
    strangers: Literal["drop", "refuse"] = Field(
        "drop", description="requests from elsewhere: no answer at all, or 403 up to a rate"
    )
    max_calls: int = Field(0, ge=0, description="dialogs at once; 0: what the SIP library can carry")
    invites_per_s: float = Field(
        20.0, gt=0, description="new calls of one source; an edge of four slots never needs more"
    )
    invite_burst: int = Field(40, ge=1, description="new calls of one source at once")
    shed_when_late_ms: int = Field(
        60,
        ge=0,
        description="new calls get 503 while a quarter of the last 2 s of speech left later than this;"
        " 0: never",
    )
    digest_users: tuple[DigestUser, ...] = Field(
        (), description="who may call with a password; empty: the trunk list is enough"
    )
    digest_realm: str = Field("voicebot", pattern=r"^[A-Za-z0-9_. -]{1,64}$")
    digest_algorithm: Literal["MD5", "SHA-256"] = Field(
        "MD5", description="MD5 is what exchanges can do; a trunk behind TLS may ask for SHA-256"
    )
    ban_after: int = Field(5, ge=1, description="wrong passwords of one source before it is banned")
    ban_s: float = Field(600.0, gt=0, description="a banned source gets no answer to INVITE")
    name_servers: tuple[Annotated[str, AfterValidator(_address)], ...] = Field(
        (), description="IPv4 addresses for host names in SIP; empty: those of the system"
    )
    fronts: tuple[Network, ...] = Field(
        (), description="our own SIP proxies: their X-Source-Address header names the caller's network"
    )
    answer_deadline_ms: int = Field(
        4000, ge=100, description="from INVITE to our answer, else 503 with Retry-After"
    )
    ack_deadline_ms: int = Field(
        8000, ge=500, description="from our 200 to the ACK, else the slot is freed"
    )
    retry_after_s: int = Field(5, ge=1)
    half_open_after_ms: int = Field(
        500, ge=0, description="without an ACK for this long a call is half open"
    )
    max_half_open_per_source: int = Field(
        2,
        ge=1,
        description="calls of one source that wait for its ACK; more get 503, or have to ask again",
    )
    max_call_s: int = Field(3600, ge=1)
    allow_outgoing: bool = Field(
        default=False, description="dial and REFER to destinations of the dialplan"
    )
    outgoing_hosts: tuple[str, ...] = Field(
        ("127.0.0.1",), description="hosts that may be dialled or referred to"
    )
    registration: RegistrationSettings = RegistrationSettings()


class RtpSettings(_Section):
    """Media."""

    realtime: bool = Field(
        default=True, description="run the edge before ordinary processes where the system allows it"
    )
    port_min: Port = 16384
    port_max: Port = 16639
    codecs: tuple[Literal["PCMU", "PCMA"], ...] = ("PCMU", "PCMA")
    no_media_timeout_s: float = Field(15.0, gt=0, description="no RTP at all after the answer")
    media_timeout_s: float = Field(30.0, gt=0, description="RTP stops in mid-call")
    hold_timeout_s: float = Field(600.0, gt=0, description="no RTP while on hold")
    jitter_max_ms: int = Field(200, ge=20, le=1000)
    port_follow_packets: int = Field(
        10, ge=1, description="packets from a new port before it is followed"
    )

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.port_max - self.port_min < 15:
            raise ValueError(
                "port_max must be at least 15 above port_min (four calls, two legs, RTP and RTCP)"
            )
        return self


class LinkSettings(_Section):
    """The WebSocket between edge and worker."""

    host: str = "127.0.0.1"
    port: Port = 8095
    standby_workers: int = Field(
        1, ge=0, le=8, description="warm workers on the ports after port, for when the first one dies"
    )
    worker_urls: tuple[str, ...] = Field(
        (), description="workers the edge may use, in order; empty: host, port and the standbys"
    )
    dialect: Literal["voicebot.v1", "media-streams"] = "voicebot.v1"
    connect_timeout_ms: int = Field(1000, ge=10)
    heartbeat_ms: int = Field(100, ge=10)
    heartbeat_limit_ms: int = Field(350, ge=50)
    resume_grace_ms: int = Field(4000, ge=0, description="how long a call waits for another worker")
    record_grace_ms: int = Field(
        30_000,
        ge=0,
        description="how long a call that ended without a worker looks for one to write its record; "
        "workers start again in seconds",
    )

    @property
    def urls(self) -> tuple[str, ...]:
        """The workers to try, in order."""
        ports = range(self.port, self.port + 1 + self.standby_workers)
        return self.worker_urls or tuple(f"ws://{self.host}:{port}/" for port in ports)


class ScaleSettings(_Section):
    """How many processes one machine runs; ``voicebot serve --calls N`` sets ``calls``."""

    calls: int = Field(
        4, ge=1, le=400, description="calls at the same time; above 4 Kamailio spreads them over edges"
    )
    workers: int = Field(0, ge=0, le=64, description="workers beside the standbys; 0: by calls")
    calls_per_worker: int = Field(
        8, ge=1, le=64, description="a worker is one Python process: docs/sizing.md has its knee"
    )
    edge_port: Port = Field(5070, description="SIP port of the first edge behind the front")
    edges: tuple[str, ...] = Field(
        (),
        description="edges on other machines, host:port each: what 'voicebot front' spreads calls over",
    )
    front_program: str = Field("kamailio", description="name or path of Kamailio")
    rtpengine: str = Field(
        "", description="control socket of rtpengine (udp:127.0.0.1:2223): media then passes through it"
    )
    hang_limit_s: float = Field(
        5.0, ge=1, description="a process whose event loop says nothing for this long is killed"
    )


class StoreSettings(_Section):
    """Where conversations are kept while they go on, and afterwards."""

    url: str = Field(
        "",
        description="empty: sessions.db in data_dir; redis://host:6379/0, rediss:// or unix:// for a "
        "cluster (all workers must see the same store); sqlite:///path",
    )
    replicas: int = Field(
        0, ge=0, le=8, description="Redis replicas that must have a turn before its answer is spoken"
    )


class AsrSettings(_Section):
    """Recognition."""

    engine: Literal["vosk", "fake"] = "vosk"
    model_path: Path | None = Field(
        None, description="any Vosk model directory; empty: the packaged model"
    )
    models: dict[str, Path] = Field(
        {},
        description="further models by language (en-GB, or en for all English) or by a name that a "
        "dialplan's route gives as recogniser; all others get model_path",
    )
    threads: int = Field(2, ge=1, le=64, description="engine calls at once; about the number of cores")
    alternatives: int = Field(
        3, ge=0, le=20, description="further readings kept of each turn; 0: the best one alone"
    )
    engine_limit_s: float = Field(
        2.0, gt=0, le=60, description="an engine call longer than this fails its turn, not the worker"
    )
    fake_script: tuple[str, ...] = Field((), description="what the fake engine hears, turn by turn")


class LlmSettings(_Section):
    """The language model behind the router; off unless an endpoint is named."""

    engine: Literal["off", "fake", "openai"] = "off"
    endpoint: str = Field("", description="address up to /v1; several, separated by blanks, in order")
    model: str = Field("", description="its model; one per endpoint, or one for all")
    key_env: str = Field(
        "VOICEBOT_LLM_KEY",
        description="variable that holds the key; one per endpoint, '-' for none, or one for all",
    )
    hedge_ms: int | None = Field(
        None, ge=0, description="ask the next endpoint too after so long, first good answer wins"
    )
    offline: bool = Field(default=False, description="open no connection that leaves the machine")
    fake_delay_ms: int = Field(0, ge=0)


class ToolSettings(_Section):
    """What dialplans may reach over HTTP."""

    allowed_hosts: tuple[str, ...] = Field(
        (), description="hosts of tools; empty: no tool leaves the machine"
    )


class TtsSettings(_Section):
    """Synthesis."""

    engine: Literal["flite", "espeak", "tone", "coqui"] = "flite"
    voice: str = "rms"
    fallback: tuple[Literal["flite", "espeak", "tone"], ...] = ("espeak",)
    model_path: Path | None = Field(None, description="Coqui model directory")
    tone_delay_ms: int = Field(0, ge=0)
    deadline_ms: int = Field(700, ge=50, description="to the first audio, else the next voice speaks")
    cache_bytes: int = Field(32_000_000, ge=0)
    threads: int = Field(
        32, ge=1, le=64, description="utterances begun at once; the CPU is shared fairly"
    )


# What a preset of ``turn.preset`` changes; docs/benchmarks.md has the price of each.
_TURN_PRESETS: Final[dict[str, dict[str, int]]] = {
    "balanced": {},
    "fast": {
        "hold_complete_ms": 60,
        "hold_phrase_ms": 200,
        "hold_understood_ms": 200,
        "hold_digits_ms": 1000,
        "hold_open_ms": 400,
        "hold_finished_ms": 300,
        "hold_unfinished_ms": 600,
        "hold_open_max_ms": 700,
        "hold_hesitation_ms": 1000,
        "stable_partial_ms": 60,
        "barge_in_ms": 40,
    },
    "careful": {
        "hold_complete_ms": 200,
        "hold_phrase_ms": 500,
        "hold_understood_ms": 600,
        "hold_digits_ms": 2000,
        "hold_open_ms": 900,
        "hold_finished_ms": 700,
        "hold_unfinished_ms": 1200,
        "hold_open_max_ms": 1500,
        "hold_hesitation_ms": 2000,
        "barge_in_ms": 120,
        "min_onset_ms": 200,
    },
}


class TurnSettings(_Section):
    """End of turn and barge-in. Hold times count from the end of speech as the detector sees it.

    A preset gives other defaults; whatever is set by name counts more.
    """

    preset: Literal["balanced", "fast", "careful"] = Field(
        "balanced", description="fast answers sooner and cuts in more often, careful the other way round"
    )
    speech_probability: float = Field(
        0.5, gt=0, lt=1, description="silero probability that means speech"
    )
    silence_probability: float = Field(
        0.35, gt=0, lt=1, description="silero probability below which the caller is silent"
    )
    quiet_dbov: float = Field(
        -65.0,
        le=0,
        description="weaker audio than this, after 1.3 s of it, is not given to the detector: most of a"
        " call is silent, and the detector costs as much as all else that is done with a frame",
    )
    speech_start_windows: int = Field(2, ge=1, description="windows of 32 ms in a row that start a turn")
    barge_in_ms: int = Field(
        60, ge=32, description="voice that pauses a prompt on a line without echo (else: echo_trigger)"
    )
    barge_in_periodic: float = Field(
        0.4,
        ge=0,
        lt=1,
        description="likeness of 40 ms of sound with itself one period of a voice later, from which they"
        " are a voice: a cough, a breath and the wind have no period",
    )
    barge_in_voiced_frames: int = Field(
        2,
        ge=0,
        le=10,
        description="so many such frames, each 20 ms later than the one before, must be in the last"
        " 220 ms and near (barge_in_near_dbov) before a prompt pauses; 0: do not ask",
    )
    barge_in_tone_share: float = Field(
        0.9,
        gt=0,
        le=1,
        description="a frame with so much of its power in the two lines of a telephone key is its tone",
    )
    barge_in_confirm_ms: int = Field(
        600, ge=0, description="time in which a pause is confirmed or undone"
    )
    barge_in_hold_ms: int = Field(
        200,
        ge=0,
        description="silence after which the words over the prompt are asked for: a short one is often"
        " only in the final result; that much is waited for it after barge_in_confirm_ms",
    )
    barge_in_voice_ms: int = Field(
        700,
        ge=0,
        description="a voice that goes on so long after the pause is meant, whatever was understood",
    )
    barge_in_voice_echo_ms: int = Field(
        1000,
        ge=0,
        description="the same where a strong echo may come back (barge_in_clear_loss_db): it goes"
        " on for as long as its delay after the pause",
    )
    barge_in_clear_loss_db: float = Field(
        7.0,
        ge=0,
        description="an echo measured to be so much weaker hardly ever pauses the bot; lines of"
        " 12 dB are measured as 8.5",
    )
    barge_in_again_ms: int = Field(
        2000,
        ge=0,
        description="who was not understood and speaks again so soon after the prompt went on means it,"
        " understood or not: a word that was ignored is said again; where no strong echo may come back",
    )
    barge_in_again_voice_ms: int = Field(
        300,
        ge=0,
        description="a voice that goes on so long after such a second pause need not end first",
    )
    barge_in_confidence: float = Field(
        0.6,
        ge=0,
        le=1,
        description="a single word cuts a prompt when the recogniser is so sure of it at the end",
    )
    barge_in_sound_odds: float = Field(
        0.5,
        description="who was not understood cuts the prompt when it sounds like a word that does so:"
        " natural logarithm of the odds against one that hums along; where no strong echo comes back",
    )
    barge_in_voice_dbov: float = Field(
        -40.0,
        le=0,
        description="mean level of 400 ms of such a voice: what is weaker may be others in the room",
    )
    barge_in_near_dbov: float = Field(
        -34.0,
        le=0,
        description="words over the bot count when the loudest 100 ms of their voice are as loud,"
        " while nothing is known of the caller's own level",
    )
    barge_in_below_own_db: float = Field(
        10.0, ge=0, description="and then when they are no more than this below the caller's own turns"
    )
    barge_in_cancelled_db: float = Field(
        4.0,
        ge=0,
        description="where our echo is taken out part of the voice goes with it: there a voice that is"
        " surely one may be so much weaker (barge_in_weak_periodic)",
    )
    barge_in_weak_periodic: float = Field(
        0.75,
        ge=0,
        le=1,
        description="likeness of 40 ms of such a voice with the same one period later: one voice repeats"
        " itself better than six do",
    )
    barge_in_far_margin_db: float = Field(
        4.0,
        ge=0,
        description="a voice that was not near does not pause the bot again unless it is so much louder",
    )
    barge_in_stable_ms: int = Field(
        300,
        ge=0,
        description="a word of interrupt_words must be heard unchanged for so long, or be in the final"
        " result: the bot is silent meanwhile, and other words begin alike",
    )
    barge_in_content_words: int = Field(2, ge=1, description="words that confirm without more waiting")
    interrupt_words: tuple[str, ...] = (
        "stop",
        "wait",
        "agent",
        "operator",
        "no",
        "cancel",
        "help",
        "repeat",
    )
    backchannel_words: tuple[str, ...] = (
        "uh-huh",
        "mm-hmm",
        "mhm",
        "yeah",
        "yes",
        "ok",
        "okay",
        "right",
        "sure",
        "um",
        "uh",
        "hmm",
        "ah",
        "oh",
    )
    own_words_share: float = Field(
        0.7,
        gt=0,
        le=1,
        description="share of the words heard over a prompt that are its own: then it is our echo",
    )
    urgent_phrases: tuple[str, ...] = Field(
        (
            "quick",
            "quickly",
            "hurry",
            "urgent",
            "urgently",
            "emergency",
            "immediately",
            "right away",
            "right now",
            "fraud",
            "stolen",
        ),
        description="a turn with one of these is urgent",
    )
    hesitant_share: float = Field(
        0.25, gt=0, le=1, description="share of um, uh and the like from which a turn is hesitant"
    )
    shout_dbov: float = Field(-12.0, le=0, description="mean level of a voice that is loud on any line")
    shout_above_own_db: float = Field(
        8.0, gt=0, description="above the median of the caller's own turns before: loud"
    )
    hold_complete_ms: int = Field(80, ge=0, description="the answer is complete and stable")
    hold_phrase_ms: int = Field(300, ge=0, description="an expected answer that could still go on")
    hold_digits_ms: int = Field(1500, ge=0, description="fewer digits than asked for")
    hold_understood_ms: int = Field(
        350, ge=0, description="open answer that the dialogue can already act on"
    )
    hold_open_ms: int = Field(600, ge=0, description="open answer, or no partial yet")
    finished_probability: float = Field(
        0.7, gt=0, le=1, description="from here a voice that pauses sounds finished"
    )
    hold_finished_ms: int = Field(430, ge=0, description="open answer that sounds finished")
    unfinished_probability: float = Field(
        0.5, ge=0, lt=1, description="below this a voice that pauses sounds as if it went on"
    )
    hold_unfinished_ms: int = Field(800, ge=0, description="open answer that sounds unfinished")
    hold_open_max_ms: int = Field(
        1000, ge=0, description="the same for a caller whose own pauses are longer; 0: all are alike"
    )
    own_pauses: int = Field(
        3, ge=1, description="pauses heard of a caller before they count for hold_open_ms"
    )
    own_pause_min_ms: int = Field(100, ge=0, description="shorter pauses are part of speaking")
    own_pause_quantile: float = Field(
        0.9, gt=0, le=1, description="of the caller's pauses so far that hold_open_ms follows"
    )
    own_pause_margin: float = Field(
        1.15, ge=1, description="factor on it: the longest pause to come is longer than those so far"
    )
    hold_hesitation_ms: int = Field(
        1500, ge=0, description="the turn ends in one of hesitation_words: it goes on"
    )
    hesitation_words: tuple[str, ...] = Field(
        (
            *("um", "uh", "er", "erm", "hmm", "and", "but", "or", "so", "because"),
            *("my", "the", "a", "an", "to", "of", "for", "with", "is", "i", "i'd", "like"),
        ),
        description="fillers, conjunctions, articles and the like",
    )
    min_onset_ms: int = Field(
        120,
        ge=0,
        description="never answer sooner after the last sound: that would be cutting in",
    )
    stable_partial_ms: int = Field(100, ge=0, description="unchanged for this long means stable")
    stable_silent_ms: int = Field(
        40,
        ge=0,
        description="the same for words that the recogniser gave only once the caller was silent: no"
        " sound can change them any more",
    )
    speculate_after_ms: int = Field(64, ge=0, description="silence after which the answer is prepared")
    max_speculations: int = Field(3, ge=0, description="per turn; 0 switches working ahead off")
    merge_window_ms: int = Field(600, ge=0, description="speech this soon after a commit takes it back")
    merge_heard_ms: int = Field(
        100, ge=0, description="unless more of the answer than this was heard: the caller reacts to it"
    )
    unheard_ms: int = Field(
        500,
        ge=0,
        description="a shorter sound that never was a word is a cough: nobody is asked to repeat",
    )
    stall_ms: int = Field(
        200, ge=40, description="no frame for this long: the line is silent, not jittery"
    )
    asr_limit_ms: int = Field(400, ge=0, description="then the last partial stands for the final result")
    asr_late_confidence: float = Field(
        0.5, ge=0, le=1, description="of such a partial: the dialogue asks back if that is too little"
    )
    max_turn_ms: int = Field(20_000, ge=1000)
    pause_ramp_ms: int = Field(20, ge=0, le=200)
    preroll_ms: int = Field(
        400, ge=0, description="audio before the detected start that the recogniser gets"
    )
    echo: EchoSettings = EchoSettings()
    echo_trigger: EchoTriggerSettings = EchoTriggerSettings()

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("preset") in _TURN_PRESETS:
            return {**_TURN_PRESETS[given["preset"]], **given}
        return given

    @model_validator(mode="after")
    def _hysteresis(self) -> Self:
        if self.silence_probability > self.speech_probability:
            raise ValueError("silence_probability must not be above speech_probability")
        return self


class BudgetSettings(_Section):
    """What each stage of a turn may cost; more is logged with the name of the stage."""

    endpoint_ms: int = Field(
        300, ge=0, description="from the last speech packet to the commit, closed answers"
    )
    asr_ms: int = Field(80, ge=0)
    llm_ms: int = Field(120, ge=0)
    tts_ms: int = Field(70, ge=0)
    network_ms: int = Field(30, ge=0)

    @property
    def limits_ms(self) -> dict[str, float]:
        """Limit of each stage, by the hop that ends it (``core.hops``)."""
        return {
            "endpoint": self.endpoint_ms,
            "asr_final": self.asr_ms,
            "route": self.llm_ms,
            "tts_first_audio": self.tts_ms,
            "packet_out": self.network_ms,
        }


class RecordingSettings(_Section):
    """Stereo recordings; the consent sentence is the dialplan's first step."""

    enabled: bool = True
    note_keys: bool = Field(
        default=False,
        description="name pressed keys in the JSON beside a recording, except while it pauses; for test "
        "systems: callers may key a secret before they are asked for it",
    )


class HandoffSettings(_Section):
    """How callers are handed to people."""

    agents: Literal["sip", "console"] = Field(
        "sip", description="sip: dial the queue's address; console: wait until somebody accepts there"
    )
    wait_s: float = Field(120.0, gt=0, description="in the console's queue, then the queue is dialled")
    waiting_sound: Literal["music", "ring_back"] = Field(
        "music", description="what waiting callers hear"
    )
    redial_s: float = Field(
        15.0, gt=0, description="a busy queue is called again so much later (outcomes: busy: wait)"
    )
    announce_s: float = Field(
        30.0, ge=0, description="a waiting caller hears the place so often; 0: never"
    )
    callback_after_s: float = Field(
        60.0, gt=0, description="then a waiting caller may ask to be called back"
    )
    callback_digit: str = Field(
        "2", pattern=r"^[0-9*#]?$", description="asks for a call back while waiting; empty: not offered"
    )
    callback_trunk: str = Field(
        "",
        pattern=r"^([A-Za-z0-9.\-]{1,253}(:[0-9]{1,5})?)?$",
        description="host[:port] through which the bot calls back by itself, also in sip.outgoing_hosts;"
        " empty: colleagues call",
    )
    callback_after_hangup_s: float = Field(
        20.0, ge=0, description="before the first try: the caller has just hung up"
    )
    callback_tries: int = Field(3, ge=1, le=10, description="then it is left to a colleague")
    callback_retry_s: float = Field(
        300.0, ge=0, description="between two tries, after busy, declined or no answer"
    )
    callback_ring_s: float = Field(30.0, gt=0, le=120)
    accept_digit: str = Field("1", pattern=r"^[0-9*#]$")
    introduction: str = Field(
        "", description="what caller and colleague hear together once they are connected; empty: nothing"
    )
    return_keys: str = Field(
        "",
        pattern=r"^[0-9*#]{0,4}$",
        description="keys by which the colleague gives the caller back to the bot; empty: none",
    )
    accept_timeout_s: float = Field(15.0, gt=0, description="from the end of the brief to the digit")
    countries: tuple[CountryCode, ...] = Field((), description="E.164 country codes that may be called")
    home_country: str = Field("", description="country code of numbers that begin with 0")
    verified_by: tuple[str, ...] = Field(
        ("check_passcode",), description="tools whose success identifies the caller"
    )
    summary_deadline_ms: int = Field(
        1500,
        ge=0,
        description="for the language model's summary, else the composed one; 0: always that one",
    )
    webhook_url: str = Field("", description="gets the context, signed; empty: none")
    webhook_key_env: str = Field(
        "VOICEBOT_HANDOFF_KEY", description="variable with the key that signs the webhook"
    )


class ConsoleUser(_Section):
    """Somebody who may log in; ``voicebot console password`` prints the hash."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.@-]{1,64}$")
    role: Literal["viewer", "agent", "supervisor", "admin"] = "viewer"
    password_hash: str = ""
    sip: str = Field("", description="the telephone on which accepted calls ring")
    skills: tuple[str, ...] = ()


class ConsoleSettings(_Section):
    """The web console."""

    enabled: bool = Field(True, description="whether 'voicebot serve' runs it")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = 8090
    public_hosts: tuple[str, ...] = Field(
        (), description="further Host headers that are ours (behind a proxy)"
    )
    token_env: str = Field(
        "VOICEBOT_CONSOLE_TOKEN", description="variable with the bearer token; empty: one is made"
    )
    users: tuple[ConsoleUser, ...] = ()
    session_hours: float = Field(12.0, gt=0)


class MetricsSettings(_Section):
    """Health and metrics over HTTP: ``/livez``, ``/readyz``, ``/metrics``."""

    host: str = Field("127.0.0.1", description="address to listen on; whoever reads it sees call counts")
    port: int = Field(9464, ge=0, le=65535, description="0: off; taken already: a warning, calls go on")


class TraceSettings(_Section):
    """OpenTelemetry traces of each turn; needs the extra ``otel``."""

    enabled: bool = False
    endpoint: str = Field("http://127.0.0.1:4318/v1/traces", description="OTLP over HTTP of a collector")
    service_name: str = "voicebot"


class LogSettings(_Section):
    """Logs: JSON lines on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Settings(_Section):
    """The whole tree."""

    data_dir: Path = Field(Path("var"), description="recordings, call records, session store")
    dialplan: Path = Path("dialplans/bank.yaml")
    dialplan_at: AwareDatetime | None = Field(
        default=None,
        description="calls take place at this moment (2026-12-25T10:00+00:00): to try opening hours",
    )
    sip: SipSettings = SipSettings()
    rtp: RtpSettings = RtpSettings()
    link: LinkSettings = LinkSettings()
    store: StoreSettings = StoreSettings()
    scale: ScaleSettings = ScaleSettings()
    asr: AsrSettings = AsrSettings()
    llm: LlmSettings = LlmSettings()
    tools: ToolSettings = ToolSettings()
    tts: TtsSettings = TtsSettings()
    turn: TurnSettings = TurnSettings()
    budget: BudgetSettings = BudgetSettings()
    recording: RecordingSettings = RecordingSettings()
    handoff: HandoffSettings = HandoffSettings()
    console: ConsoleSettings = ConsoleSettings()
    metrics: MetricsSettings = MetricsSettings()
    traces: TraceSettings = TraceSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _trunk_may_be_called(self) -> Self:
        host = self.handoff.callback_trunk.partition(":")[0]
        if host and host not in self.sip.outgoing_hosts:
            raise ValueError(f"handoff.callback_trunk: {host} is not in sip.outgoing_hosts")
        return self
