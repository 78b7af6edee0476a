"""The pack `crud`: a small web service that keeps texts and finds them, checked from outside over loopback."""
