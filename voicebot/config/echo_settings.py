"""Settings of echo and of the first look at an interruption: ``turn.echo`` and ``turn.echo_trigger``.

Defaults were found with tests/bench/echo.py on simulated lines; docs/turn-taking.md has the curves.
"""

from pydantic import Field

from voicebot.config.section import Section


class EchoDelaySettings(Section):
    """The tracker of the echo's delay."""

    longest_delay_ms: int = Field(1200, ge=100, le=3000, description="later echoes are not found, ms")
    window_ms: int = Field(256, ge=64, le=1000, description="how much of what was heard is compared, ms")
    every_ticks: int = Field(5, ge=1, le=50, description="one estimate each so many ticks of 20 ms")
    phase_weight: float = Field(
        0.8, ge=0, le=1, description="1 is the pure phase transform, 0 plain correlation"
    )
    smoothing: float = Field(
        0.8, ge=0, lt=1, description="share of the past in the averaged correlation, per estimate"
    )
    clip_ratio: float = Field(
        12.0,
        gt=0,
        description="no estimate counts for more (peak over mean): two voices can be alike for"
        " as long as the windows overlap",
    )
    lock_ratio: float = Field(
        7.0, gt=0, description="peak over mean of the average that locks: four good estimates in a row"
    )
    move_factor: float = Field(1.5, ge=1, description="a lock moves to a peak so many times as high")
    unlock_ratio: float = Field(
        2.5, ge=0, description="peak over mean at the locked delay below which the lock is lost"
    )
    quietest_heard_dbov: float = Field(
        -68.0, le=0, description="below this there is nothing to compare, dBov: the tracker holds still"
    )
    above_noise_db: float = Field(
        4.0, ge=0, description="as quietest_heard_dbov, dB above the noise heard so far"
    )
    noise_rise_db_per_s: float = Field(
        1.0,
        ge=0,
        description="how fast the noise floor rises while nothing as quiet is heard, dB/s",
    )
    quietest_sent_dbov: float = Field(
        -50.0, le=0, description="as quietest_heard_dbov, mean over the history of what was sent, dBov"
    )


class EchoLevelSettings(Section):
    """The model of how loud the echo can be."""

    margin_db: float = Field(
        6.0, ge=0, description="heard power counts as unexplained so far above the expected echo, dB"
    )
    noise_margin_db: float = Field(6.0, ge=0, description="the same above the noise between words, dB")
    decay_per_tick: float = Field(
        0.5, ge=0, lt=1, description="share of the echo's power left 20 ms later: reverberation"
    )
    first_gain_db: float = Field(
        -6.0, le=0, description="gain before anything was learned, dB: the loudest echo that lines have"
    )
    quantile: float = Field(
        0.9, gt=0, lt=1, description="the learned gain is exceeded in 1 - quantile of the ticks"
    )
    step_db: float = Field(
        1.0, gt=0, description="how far 20 ms move the gain, dB: times quantile up, times the rest down"
    )
    first_step_db: float = Field(
        4.0, gt=0, description="the same downwards while little was learned, dB"
    )
    first_ticks: int = Field(
        50, ge=0, description="how long first_step_db holds, in ticks of 20 ms with echo"
    )
    learn_below: float = Field(
        0.3,
        gt=0,
        le=1,
        description="more than this unexplained is the caller: nothing is learned",
    )
    smoothing_ticks: int = Field(5, ge=1, description="the share is the mean of so many ticks of 20 ms")


class EchoSettings(Section):
    """The echo path of a call."""

    tail_ms: int = Field(300, ge=0, description="echo goes on so long after its delay: reverberation")
    lead_ms: int = Field(
        60, ge=0, description="what is left for the canceller when the reference is delayed for it, ms"
    )
    longest_cancelled_ms: int = Field(
        350,
        ge=0,
        le=500,
        description="later echo delays the reference, ms: AEC3 cancels 30 dB up to 500 ms, 5 dB at 600",
    )
    smallest_move_ms: int = Field(
        100, ge=0, description="the reference's delay moves by at least this, ms: each move is heard"
    )
    quiet_ms_for_no_echo: int = Field(
        700, ge=100, description="quiet under our own speech without a break for so long: no echo, ms"
    )
    loud_share: float = Field(
        0.6, gt=0, le=1, description="share of the last 2.2 s that our speech must fill for that"
    )
    loud_dbov: float = Field(-45.0, le=0, description="what counts as our speech in loud_share, dBov")
    learning_ratio: float = Field(
        10.0, ge=0, description="peak over mean at the locked delay from which the level model learns"
    )
    stranger_bias: float = Field(
        7.35, description="log odds that a voice on an unknown line is the caller's: this much, and"
    )
    stranger_per_likeness: float = Field(
        -0.61, description="so much per unit of likeness with what we sent, and"
    )
    stranger_per_db: float = Field(
        0.13, description="so much per dB that it is louder than what we sent (a logistic regression)"
    )
    likeness_limit: float = Field(14.0, gt=0, description="more likeness than this says no more")
    delay: EchoDelaySettings = EchoDelaySettings()
    level: EchoLevelSettings = EchoLevelSettings()


class EchoTriggerSettings(Section):
    """When a voice over the bot pauses it."""

    voice_probability: float = Field(
        0.5, gt=0, lt=1, description="silero probability that is a voice, of what was heard as it is"
    )
    above_noise_db: float = Field(
        8.0, ge=0, description="a voice weaker than this above the noise is no caller, dB"
    )
    quietest_dbov: float = Field(-50.0, le=0, description="the same, absolute, dBov")
    unknown_probability: float = Field(
        0.7, gt=0, lt=1, description="as voice_probability while the line is unknown"
    )
    unknown_odds: float = Field(
        20.0,
        ge=0,
        description="log odds, added up over the ticks of a voice, that make it the caller's on an"
        " unknown line: more pauses wrongly less, and hears short words less",
    )
    unechoed_odds_per_s: float = Field(
        12.0,
        ge=0,
        description="log odds with which a voice begins, per second of our own speech of which nothing"
        " came back before: an echo would have been heard by then, unless it is very late",
    )
    most_unechoed_odds: float = Field(12.0, ge=0, description="and no more than this")
    most_odds_per_tick: float = Field(
        3.0, gt=0, description="one tick adds or takes no more: neighbouring ticks hear nearly the same"
    )
    fewest_odds: float = Field(
        -10.0, le=0, description="the sum goes no lower: a caller can still be heard after an echo"
    )
    unknown_gap_ms: int = Field(
        100, ge=20, description="a voice silent for so long is another one when it comes again, ms"
    )
    echo_evidence: float = Field(
        6.5, ge=0, description="evidence for an unmodelled echo that holds the trigger back; 7 locks"
    )
    likeness_ratio: float = Field(
        20.0,
        gt=0,
        description="voice that correlates so well with what we sent, at a delay not modelled, is ours",
    )
    echo_ms: int = Field(
        100, ge=20, description="how long voice that the echo does not explain must last, ms"
    )
    unexplained_share: float = Field(
        0.2, ge=0, lt=1, description="share of the heard power that the echo must leave unexplained"
    )
