"""The program that owns SIP dialogs and RTP streams, and holds no business state."""
