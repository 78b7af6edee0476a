"""External agents: any command as the agent of a dispatch, its requests recorded, attributed and judged as our own."""
