"""RTP without sockets and clocks: bytes and times in, values out.

Receive path of one leg, in order:

    datagram → packet.parse_rtp → source_guard.SourceGuard.check → stream_stats.StreamStatistics
             → telephone_event.TelephoneEventDecoder → DtmfDeduplicator     (events)
             → jitter_buffer.JitterBuffer (eager: recogniser, VAD; paced: bridge, listener)
               inside it: timeline → delay_estimator → frame_cells
    RTCP     → source_guard.check_rtcp → rtcp.parse_rtcp → stream_stats.receive_sender_report

Send path of one leg, once per tick:

    send_clock.SendClock.take → playout.PlayoutQueue.next_frame → packetizer.Packetizer.tick
             → packet.build_rtp → datagram

Times are monotonic microseconds, positions are samples at 8 kHz, payloads are G.711 bytes.
"""
