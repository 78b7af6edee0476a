"""The pack `levels`: twenty coding levels, one request and one reply each, 118 points and a control for none."""
