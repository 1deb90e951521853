"""Logs, hop times, redaction."""
