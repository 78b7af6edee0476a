"""`dyno fix`: which change would save what, making it, and measuring again."""
