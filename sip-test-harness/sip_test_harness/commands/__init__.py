"""The commands of ``sip-test-harness``, one module for each kind of work."""
