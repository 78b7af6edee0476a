"""The pack `spectree`: goals, features and requirements of a small code base, inferred into a SPECLAN tree."""
