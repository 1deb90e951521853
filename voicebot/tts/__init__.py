"""Text to telephone audio.

text ─► text_normalizer (words only) ─► sentences ─► a Voice ─► audio.narrowband ─► mu-law pieces

protocol   what an engine has to be
flite      the default voices, in-process            espeak   the last resort, a child process
coqui      neural voices, from a local model         tone     a fake for tests and benchmarks
speech_plan  sentences, pauses, prosody (from text or ssml)
renderer   fallback, deadline, cache: what the worker calls
say_as     typed values (money, dates, digits …) as words, for the dialogue
"""
