"""Requests that other programs send: passed on and recorded byte for byte, then measured as dyno's own are."""
