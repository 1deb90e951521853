"""A person takes over: where to, who waits, what they are told, and how the call gets there."""
