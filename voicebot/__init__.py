"""A voice bot for the telephone.

The way of one 20 ms frame, caller to answer (docs/frame-path.md draws it):

    voicebot.edge.receive_path          datagram: source guard, statistics, order, concealment
    voicebot.link.client                edge end of the link
    voicebot.link.server                worker end of the link
    voicebot.worker.call_session        live shell: tasks, threads, time
    voicebot.worker.call_core           pure core: message in, effects out
    voicebot.worker.listener            voice activity, endpointing, barge-in
    voicebot.asr.vosk_recogniser        words
    voicebot.dialogue.conversation      what to do about them
    voicebot.session.sqlite_store       kept before it is answered
    voicebot.worker.speech_output       what is being said
    voicebot.tts.renderer               text to telephone audio
    voicebot.edge.send_path             a packet every 20 ms

Programs: ``voicebot.edge.main``, ``voicebot.worker.main``, both started by ``voicebot.supervise``.
"""
