"""Whose turn it is: echo, voice activity, end of turn, barge-in. Sans-IO: every time is an argument."""
