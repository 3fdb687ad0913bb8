"""Monte Carlo over chips: what a preset's variations do to a package's accuracy."""
