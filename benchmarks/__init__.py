"""What dyno itself costs, as ratios within one run. Each module is a program: `python -m benchmarks.<name>`."""
