"""`dyno template`: growing agent histories, rendered turn by turn, and what they show."""
