"""The chat server, from its pure parts to a real browser."""
