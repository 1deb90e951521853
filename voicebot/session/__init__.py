"""The durable record of each conversation."""
