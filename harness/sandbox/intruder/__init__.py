"""What the battery sends into a sandbox: it tries to break out and says what came of it."""
