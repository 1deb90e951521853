"""``voicebot serve``: all processes of one machine, started in order, watched and restarted.

serve     order of starting and stopping, signals, rolling restart
fleet     which processes for how many calls, with their ports (pure)
child     one process: ready, alive, hung, dead
ending    SIGTERM, then SIGKILL
front     Kamailio in front of several edges: configuration and process
records   what becomes of the calls of an edge that died
"""
