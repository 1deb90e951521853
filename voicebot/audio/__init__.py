"""What is done to samples between the wire and the engines, sans-IO.

g711            bytes on the wire  <->  int16 samples
concealment     a frame that never came
comfort_noise   silence suppression on the other side (RFC 3389)
level           how loud is it: active speech level, RMS, peak, audible or not
resampler       8 kHz line  <->  the rates that models and voices want
narrowband      a voice made fit for the telephone band
"""
