"""`dyno simulate`: sessions and runs played on models of engines' caches, setting by setting."""
