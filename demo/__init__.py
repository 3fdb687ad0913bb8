"""The demo (`make demo`), the cluster of processes (`make up`), and what starts real processes for everyone else."""
