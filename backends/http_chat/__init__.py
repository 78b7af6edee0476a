"""What the adapters of HTTP chat servers share: a connection, keys and model names, a chat, prompts, counters.

An adapter puts these parts together in its `open_engine`; nothing here knows an engine by name.
"""
