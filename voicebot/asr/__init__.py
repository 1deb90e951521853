"""Speech recognition: one small protocol, its engines, a fake beside them.

protocol          Hypothesis, Word, Recogniser, RecogniserFactory
vosk_model        a Vosk model directory, checked before the C++ code sees it
vosk_recogniser   streaming over Vosk that cannot be misused into an abort
background        words of other people, told by how loud they are
transcribing      a recording as a call would be heard; JSON lines for measuring programs
fake              answers from a script; says that it is a fake
pool              bounded threads between the event loop and the engine
calibration       engine's belief -> probability of being right
grammar           run-time grammars for what a dialogue step expects
build             settings -> engine
digits, numbers, money, dates, times, letters, yes_no    words -> typed values
models/           the packaged narrowband model
"""
