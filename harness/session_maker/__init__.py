"""Makes the sessions in `profiles/sessions`: a scripted agent at work, and what a client can do to its prompts."""
