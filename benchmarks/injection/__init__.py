"""The battery of injected causes: sessions whose losses are known, put through real engines, and what dyno names."""
